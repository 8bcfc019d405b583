"""Starts, supervises and ends the services of an installation."""
