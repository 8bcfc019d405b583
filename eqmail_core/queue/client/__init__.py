"""Clients that put messages into the queue: blocking or asynchronous, through the service or a program."""
