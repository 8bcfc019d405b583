"""The event loop of every resident service: uvloop, which is faster, else asyncio.

Import this before the service assumes its role: the role may be unable to read the interpreter's files.
"""

import asyncio

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # slower, but sufficient


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Create a loop of the fastest kind available."""
    loop: asyncio.AbstractEventLoop = (uvloop or asyncio).new_event_loop()
    return loop
