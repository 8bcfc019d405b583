"""Logs of the services: where they are, what their lines mean, and what became of a message."""
