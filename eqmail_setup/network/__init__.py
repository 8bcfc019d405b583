"""Names and addresses of this host and of others."""
