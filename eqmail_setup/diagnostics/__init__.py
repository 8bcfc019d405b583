"""Checks of an installation: findings, their severity, and remedies."""
