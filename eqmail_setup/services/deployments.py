"""Which init system or supervisor runs here, and which service files each way of running everything consists of.

Fails: Refusal where none is known.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from eqmail_setup.errors import EqmailError
from eqmail_setup.services.activation import processes
from eqmail_setup.services.definitions import MTA
from eqmail_setup.services.managers import MANAGERS
from eqmail_setup.services.supervisor_tools import SUPERVISORS

NONE = "none"


class Deployment(NamedTuple):
    """How a whole mail system runs: the flavour for the MTA, and the one for its servers, "" where that is the same.

    `stop` is the command with which it ends.
    """

    mta: str
    stop: str
    servers: str = ""

    def bundles(self, servers: tuple[str, ...]) -> list[tuple[str, tuple[str, ...]]]:
        """The flavours with the services that each is to run."""
        if not self.servers:
            return [(self.mta, (MTA, *servers))]
        return [(self.mta, (MTA,)), (self.servers, servers)]


DEPLOYMENTS = {
    "systemd": Deployment("systemd", "systemctl stop {name}.service"),
    "openrc": Deployment("openrc", "rc-service {name} stop"),
    "runit": Deployment("runit", "sv stop {scanned}/{name}-send"),
    "s6": Deployment("s6", "s6-svc -d {scanned}/{name}-send"),
    "daemontools": Deployment("daemontools", "svc -d {scanned}/{name}-send"),
    "sysv": Deployment("sysv", "service {name} stop"),
    "xinetd": Deployment("sysv", "service {name} stop", servers="xinetd"),
}
"""Every way by its name."""


def _exists(path: str) -> Callable[[], bool]:
    return lambda: os.path.exists(path)


def _runs(tools: str) -> Callable[[], bool]:
    return lambda: any(os.path.basename(words[0]) == SUPERVISORS[tools].scanner for words in processes())


_SIGNS: tuple[tuple[str, Callable[[], bool]], ...] = (
    ("systemd", _exists(MANAGERS["systemd"].sign)),
    ("openrc", _exists(MANAGERS["openrc"].sign)),
    ("runit", _runs("runit")),
    ("s6", _runs("s6")),
    ("daemontools", _runs("daemontools")),
    ("sysv", lambda: _first_process() == "init" and os.path.isdir("/etc/init.d")),
)


def detected() -> str:
    """The way of this host.

    Fails: Refusal with what was found instead.
    """
    for name, is_here in _SIGNS:
        if is_here():
            return name
    raise EqmailError(
        f"no init system that I know runs here (process 1 is {_first_process() or 'unknown'}); choose with --service "
        f"{', '.join(DEPLOYMENTS)}, or --service {NONE} to start it yourself: eqmail run"
    )


def _first_process() -> str:
    try:
        with open("/proc/1/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
