"""Sets up a complete mail server: checks before, one plan, a test message, and what is left to do."""
