"""Looking at the queue and changing it."""
