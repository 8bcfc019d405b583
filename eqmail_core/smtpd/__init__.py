"""The SMTP server: protocol, policy, and the servers that run them."""
