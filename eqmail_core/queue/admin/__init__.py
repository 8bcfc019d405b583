"""Administration of a queue: listing, changing, repairing and transferring its messages."""
