"""The queue service: the only one that may write the queue's messages.  `run` is its life."""

from eqmail_core.services.queue.service import run

__all__ = ["run"]
