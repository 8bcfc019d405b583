"""Run a coroutine whose I/O blocks, without an event loop.

Code that a service and a program share is written once, as coroutines over an I/O object.  The service's object
suspends; the program's blocks instead, so that its coroutines run to their end at the first step.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import TypeVar

    Result = TypeVar("Result")


def run_blocking(coroutine: "Coroutine[object, None, Result]") -> "Result":
    """Run a coroutine that never suspends, and return its result.

    Fails: as the coroutine; RuntimeError if it suspends, which is a mistake of its I/O object.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: Result = end.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine of a blocking program suspended")
