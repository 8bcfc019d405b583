"""A few modules with real sockets, files and processes."""
