"""The delivery scheduler qmail-send: when each message is tried, and what its results mean."""
