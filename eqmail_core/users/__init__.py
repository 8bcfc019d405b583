"""Local users: the owner of a local part, the user database, and its source files."""
