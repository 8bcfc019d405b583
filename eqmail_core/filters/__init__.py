"""Filters of incoming mail: milters and Python checks."""
