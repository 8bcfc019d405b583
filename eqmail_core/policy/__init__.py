"""Decisions as pure functions over values."""
