"""POP3: protocol, maildrop and server."""
