"""One file or line format each: bytes to values and back, pure."""
