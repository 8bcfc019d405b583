"""Aggregate reports: counted, composed, addressed and read."""
