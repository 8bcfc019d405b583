"""Who reads a changed setting when, and the signal that makes them read it.

Fails: Refusal.
"""

import os
import signal
from collections.abc import Iterable
from typing import Any

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import QUEUE, REMOTE, SEND, SMTPD, START, Control
from eqmail_core.site.site import Site
from eqmail_core.system.kernel import lock_holder
from eqmail_setup.errors import EqmailError, permission_required

_WHEN_EFFECTIVE = {
    SMTPD: "the resident SMTP service reads it at HUP, a server under tcpserver or xinetd with its next client",
    REMOTE: "the next remote delivery reads it",
    SEND: "qmail-send reads it at its next start",
    START: "qmail-start reads it at its next start",
    QUEUE: "the queue service reads it at its next start",
}
_AT_HUP = "qmail-send reads it at HUP"


def when_effective(control: Control[Any]) -> str:
    """When a change of this setting is in force."""
    said = [
        _AT_HUP
        if reader == SEND and control.reload_on_hup
        else _WHEN_EFFECTIVE.get(reader, f"{reader} reads it when it runs")
        for reader in control.used_by
    ]
    return "; ".join(said) or "no program reads it"


def required_action(files: Iterable[str]) -> str:
    """What the administrator has to do after a change of these files; "" for nothing."""
    names = set(files)
    changed = [control for control in Controls.declared().values() if control.file in names]
    if any(SEND in control.used_by and not control.reload_on_hup for control in changed):
        return "qmail-send has to be started again to read this"
    if any({QUEUE, START} & set(control.used_by) for control in changed):
        return "the services have to be started again to read this"
    if any(control.reload_on_hup or SMTPD in control.used_by for control in changed):
        return "running services read this at HUP: --reload sends it, or: eqmail reload"
    return ""


def running_pid(site: Site) -> int:
    """The process that keeps the services of an installation, as the kernel knows it; 0 where they do not run."""
    path = f"{site.run}/start.lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return 0
    except PermissionError as error:
        raise permission_required(
            f"{path}: only the owner of the installation may look who runs the services"
        ) from error
    try:
        pid = lock_holder(fd)
    finally:
        os.close(fd)
    if pid < 0:
        raise EqmailError(
            f"{path}: is held by a process that cannot be seen from here; send HUP to qmail-start yourself"
        )
    return pid


def reload_services(site: Site) -> str:
    """Make the services read what they can read while they run; one sentence about it."""
    pid = running_pid(site)
    if not pid:
        return "the services do not run; they read everything when they start"
    try:
        os.kill(pid, signal.SIGHUP)
    except PermissionError as error:
        raise permission_required(f"sending HUP to qmail-start (process {pid}) needs its owner, often root") from error
    except ProcessLookupError:
        return "the services do not run; they read everything when they start"
    return f"sent HUP to qmail-start (process {pid}), which passes it on"
