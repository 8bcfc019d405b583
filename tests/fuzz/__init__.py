"""Fuzzing: arbitrary bytes against the state machines and parsers of eQmail.  `make fuzz` runs it."""
