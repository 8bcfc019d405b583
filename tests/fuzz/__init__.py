"""Fuzzing: what bytes from strangers may do to the machines and parsers of the suite.  `make fuzz` runs it."""
