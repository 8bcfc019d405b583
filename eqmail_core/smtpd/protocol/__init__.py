"""The server side of the SMTP protocol; no I/O."""
