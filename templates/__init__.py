"""Jinja templates of the files that the toolkit generates, installed as package data."""
