"""Listing, selecting and changing messages of the queue."""
