"""TLS of the SMTP server and client: contexts, policies and sessions."""
