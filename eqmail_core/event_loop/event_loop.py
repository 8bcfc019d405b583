"""The event loop of every resident service: uvloop, which is faster, else asyncio.

Import this before the service assumes its role: the role may be unable to read the interpreter's files.
"""

import asyncio

from eqmail_core.site.site import Site
from eqmail_core.system.kernel import forbid_io_uring
from eqmail_core.system.privileges import assume_role

try:
    import uvloop
except ImportError:
    uvloop = None  # type: ignore[assignment]  # slower, but sufficient


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Create a loop of the fastest kind available, the current one of this thread."""
    loop: asyncio.AbstractEventLoop = (uvloop or asyncio).new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


def begin_service(site: Site, role: str) -> None:
    """Give up what a resident service never needs: io_uring, and every right but those of its account.

    Fails: PrivilegeError.
    """
    forbid_io_uring()
    assume_role(site, role)
