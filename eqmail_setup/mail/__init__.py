"""Domains, users, mailboxes, aliases, credentials, keys and certificates."""
