"""Domains, users, aliases, credentials, certificates: who gets mail and who may send it."""
