"""What a service gives up permanently."""

import subprocess
import sys

import pytest

LOOP = """
import os, sys
from eqmail_core.system.kernel import forbid_io_uring
if len(sys.argv) > 1:
    forbid_io_uring()
import uvloop
loop = uvloop.new_event_loop()
held = []
for fd in range(64):
    try:
        held.append(os.readlink(f"/proc/self/fd/{fd}"))
    except OSError:
        pass
loop.run_until_complete(loop.run_in_executor(None, os.getpid))
print(any("io_uring" in name for name in held))
"""


def has_io_uring(*words: str) -> bool:
    run = subprocess.run([sys.executable, "-c", LOOP, *words], capture_output=True, text=True, check=True)
    return run.stdout == "True\n"


@pytest.mark.root
def test_a_service_has_no_io_uring() -> None:
    if not has_io_uring():
        pytest.skip("the event loop of this system has no io_uring anyway")
    assert not has_io_uring("forbid")
