"""Limits for those who submit mail: how much each of them may, what is over it, and who is told."""
