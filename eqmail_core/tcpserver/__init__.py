"""qmail-tcpsrv and tcp-env: TCP connections, access rules, and their environment variables."""
