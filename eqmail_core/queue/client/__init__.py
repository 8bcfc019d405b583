"""Clients that put messages into the queue.

Blocking or asynchronous, through the service or a program.
"""
