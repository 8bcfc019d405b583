"""python -m tests.support.spawner_process OPTIONS: the spawner of a site, with some of its parts changed.

A process of its own, not a fork of that of the tests: whatever other tests have loaded there, such as an event loop of
libuv, whose handler closes descriptors by their numbers in each forked child, is not here.

OPTIONS is what `start` makes of its arguments.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from eqmail_core.ipc.packet_socket import listen_at
from eqmail_core.local.service import spawner, worker_pool
from eqmail_core.local.service.maildir_batch import MaildirBatch
from eqmail_core.local.service.worker import NO_BOUND
from eqmail_core.site.site import Site

ROOT = Path(__file__).resolve().parents[2]


def start(
    site: Site,
    with_carrier: bool = True,
    at_once: int = NO_BOUND,
    changes: dict[str, float] | None = None,
    no_forks: Path | None = None,
    dies_at_flush: bool = False,
) -> subprocess.Popen[bytes]:
    """Start it; it listens when this returns.

    `changes`: values of module attributes, by "module.attribute"; `no_forks`: a file that names the workers that cannot
    be started as long as it is there.
    """
    sockets = listen_at(site.socket("local"), 0o600), listen_at(site.socket("lookup"), 0o600)
    options = {
        "home": site.home,
        "single_user": site.single_user,
        "sockets": [sock.fileno() for sock in sockets],
        "with_carrier": with_carrier,
        "at_once": at_once,
        "changes": changes or {},
        "no_forks": str(no_forks or ""),
        "dies_at_flush": dies_at_flush,
    }
    command = [sys.executable, "-m", "tests.support.spawner_process", json.dumps(options)]
    try:
        return subprocess.Popen(command, cwd=ROOT, pass_fds=options["sockets"])  # type: ignore[arg-type]
    finally:
        for sock in sockets:
            sock.close()


def _forks_unless(sign: Path) -> Callable[[str, Callable[[socket.socket], int]], tuple[int, socket.socket]]:
    fork = worker_pool.fork_with_socket

    def fork_or_not(name: str, act: Callable[[socket.socket], int]) -> tuple[int, socket.socket]:
        if sign.exists() and name in sign.read_text():
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return fork(name, act)

    return fork_or_not


def main(options: dict[str, Any]) -> None:
    """Make the changes, and serve."""
    for path, value in options["changes"].items():
        module, _, attribute = path.rpartition(".")
        assert hasattr(import_module(module), attribute), path
        setattr(import_module(module), attribute, value)
    if options["no_forks"]:
        worker_pool.fork_with_socket = _forks_unless(Path(options["no_forks"]))
    if options["dies_at_flush"]:
        MaildirBatch.flush = lambda batch: os._exit(1)  # type: ignore[method-assign]
    listener, asked_at = (socket.socket(fileno=fd) for fd in options["sockets"])
    site = Site(home=options["home"], single_user=options["single_user"])
    spawner.run(site, b"./Maildir/", listener, asked_at, options["with_carrier"], options["at_once"])


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
