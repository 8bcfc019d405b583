"""Certificates from an authority that speaks ACME (RFC 8555): Let's Encrypt and others."""
