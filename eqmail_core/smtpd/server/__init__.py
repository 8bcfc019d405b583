"""Drivers of SMTP sessions: one client per process, or many in a resident service."""
