"""The event loop of every resident service: uvloop's where it is installed, which is faster, else Python's own.

To be imported before a service settles: it may not be able to read the interpreter's files then.
"""

import asyncio

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # slower, and does


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of the faster kind that there is."""
    loop: asyncio.AbstractEventLoop = (uvloop or asyncio).new_event_loop()
    return loop
