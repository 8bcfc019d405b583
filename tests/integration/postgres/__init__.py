"""The queue on a real PostgreSQL."""
