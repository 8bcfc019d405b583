"""The milter protocol, MTA side; no I/O."""
