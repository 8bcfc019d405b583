"""Control files: reading, checking, changing and describing them."""
