"""Authentication: credentials, password checkers, secrets, and SMTP AUTH of the client."""
