"""Changes that happen as a whole or not at all, and can be undone."""
