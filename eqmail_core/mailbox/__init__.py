"""Mailbox formats: Maildir with quota, and mbox."""
