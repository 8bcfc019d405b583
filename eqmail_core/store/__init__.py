"""The disk: queue, journal, mailboxes, user database."""
