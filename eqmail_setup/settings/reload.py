"""Who reads a changed setting when, and the signal that makes them read it.

Fails: Refusal.
"""

import os
import shlex
import signal
from collections.abc import Iterable
from enum import Enum
from typing import Any

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import ALL, QUEUE, REMOTE, SEND, SMTPD, START, Control
from eqmail_core.site.layout import DEFAULT_HOME
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
_WATCHED = "the SMTP server uses a new file at once"


def when_effective(control: Control[Any]) -> str:
    """When a change of this setting is in force."""
    return "; ".join(_said_of(control, reader) for reader in control.used_by) or "no program reads it"


def _said_of(control: Control[Any], reader: str) -> str:
    if reader == SEND and control.reload_on_hup:
        return _AT_HUP
    if reader == SMTPD and control.is_watched:
        return _WATCHED
    if reader == QUEUE and control.is_watched:
        return "the queue service reads it within seconds"
    return _WHEN_EFFECTIVE.get(reader, f"{reader} reads it when it runs")


class RequiredAction(Enum):
    """What makes running services use a change."""

    NONE = "none"
    RELOAD = "reload"
    RESTART = "restart"


_READ_AT_START = {START, QUEUE, *ALL}


def required_action(files: Iterable[str]) -> RequiredAction:
    """What makes running services use changes of these control files: the most that one of them needs."""
    needed = {_action_for(control) for control in Controls.declared().values() if control.file in set(files)}
    return next(
        (action for action in (RequiredAction.RESTART, RequiredAction.RELOAD) if action in needed), RequiredAction.NONE
    )


def _action_for(control: Control[Any]) -> RequiredAction:
    if control.is_watched:
        return RequiredAction.NONE
    readers = set(control.used_by)
    if readers & _READ_AT_START or (SEND in readers and not control.reload_on_hup):
        return RequiredAction.RESTART
    return RequiredAction.RELOAD if control.reload_on_hup or SMTPD in readers else RequiredAction.NONE


RELOAD_COMMAND = ("eqmail", "reload")
RESTART_COMMAND = ("eqmail", "service", "restart")


def after_change(site: Site, files: Iterable[str], reload: bool) -> str:
    """What has to happen after a change of these control files, in one line; "" for nothing.

    With `reload`, running services reread what they can before.
    """
    action = required_action(files)
    try:
        is_running = bool(running_pid(site))
    except EqmailError:
        is_running = True  # by another account, as far as can be seen
    said = [reload_services(site)] if reload else []
    if is_running and action is RequiredAction.RESTART:
        said.append(f"Restart required: {_command(site, RESTART_COMMAND)}")
    elif is_running and action is RequiredAction.RELOAD and not reload:
        said.append(f"Reload required: {_command(site, RELOAD_COMMAND)}")
    return "\n".join(said)


def _command(site: Site, words: tuple[str, ...]) -> str:
    home = () if site.home == DEFAULT_HOME else ("--home", site.home)
    return shlex.join((words[0], *home, *words[1:]))


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
        return "Services are not running; they read all settings when they start."
    try:
        os.kill(pid, signal.SIGHUP)
    except PermissionError as error:
        raise permission_required(
            f"sending HUP to qmail-start (process {pid}) requires its owner, usually root"
        ) from error
    except ProcessLookupError:
        return "Services are not running; they read all settings when they start."
    return f"Sent HUP to qmail-start (process {pid}): services reread their settings."
