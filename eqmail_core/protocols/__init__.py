"""Sans-I/O machines for everything that is spoken over a wire."""
