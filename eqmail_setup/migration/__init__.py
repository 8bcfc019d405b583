"""Import from another qmail, export to one, backup and restore."""
