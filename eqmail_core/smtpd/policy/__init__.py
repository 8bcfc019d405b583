"""Decisions of the SMTP server about clients, senders, recipients and messages; no I/O."""
