"""How an installation is at this moment: services, listeners, queue, recent problems, certificate, pending actions.

Fails: EqmailError where the caller may not look; what cannot be read otherwise is left out.
"""

import os
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.queue.admin.qstat import count_all
from eqmail_core.queue.admin.scheduler_client import connect_to_scheduler
from eqmail_core.service.record import last_reload, read_listeners, read_record
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_setup.errors import EqmailError
from eqmail_setup.logs.sources import find_sources
from eqmail_setup.logs.timestamps import split_time
from eqmail_setup.mail import certificates
from eqmail_setup.network.processes import process_start
from eqmail_setup.settings.reload import RequiredAction, required_action, running_pid

MAX_PROBLEMS = 5
"""Problems of the log that are shown."""

_TAIL_BYTES = 65536
_ENDINGS = (b"alert: ", b"fatal: ", b"warning: ")


class ProcessView(NamedTuple):
    """One process of the services: its state since when, how often it has ended, and why the last time."""

    name: str
    pid: int
    state: str
    since: int
    ends: int
    reason: str


class Problem(NamedTuple):
    """One line of the log that tells a problem."""

    when: float | None
    text: str


class InstallationStatus(NamedTuple):
    """All of it. `started` is None where nothing runs, or it is not known; `counters` are the scheduler's.

    `certificate_days`: how long the certificate of the SMTP server is valid; None without one.
    `changed`: settings that changed since they were read, with what makes the services read them.
    """

    pid: int
    started: float | None
    processes: tuple[ProcessView, ...]
    listeners: tuple[str, ...]
    messages: int | None
    counters: dict[str, int]
    problems: tuple[Problem, ...]
    certificate_days: int | None
    required: RequiredAction
    changed: tuple[str, ...]


def read_status(site: Site, now: float) -> InstallationStatus:
    """Look at everything once."""
    pid = running_pid(site)
    started = process_start(pid) if pid else None
    required, changed = pending_action(site, started) if started else (RequiredAction.NONE, ())
    return InstallationStatus(
        pid=pid,
        started=started,
        processes=_processes(site) if pid else (),
        listeners=_listeners(site) if pid else (),
        messages=_messages(site),
        counters=_counters(site) if pid else {},
        problems=_problems(site, now),
        certificate_days=_certificate_days(site, now),
        required=required,
        changed=changed,
    )


def pending_action(site: Site, started: float) -> tuple[RequiredAction, tuple[str, ...]]:
    """What makes running services use the settings as they are now, and the settings that changed since."""
    read_at = max(started, last_reload(site))
    action, found = RequiredAction.NONE, []
    for control in Controls.declared().values():
        try:
            changed = os.stat(f"{site.control}/{control.file}").st_ctime
        except OSError:
            continue
        needed = required_action([control.file])
        if needed is RequiredAction.RESTART and changed > started:
            action = RequiredAction.RESTART
            found.append(control.file)
        elif needed is RequiredAction.RELOAD and changed > read_at:
            action = RequiredAction.RELOAD if action is RequiredAction.NONE else action
            found.append(control.file)
    return action, tuple(found)


def _processes(site: Site) -> tuple[ProcessView, ...]:
    try:
        return tuple(
            ProcessView(process.name, process.pid, process.state, process.since, process.ends, process.reason)
            for process in read_record(site)
        )
    except (OSError, ValueError):
        return ()


def _listeners(site: Site) -> tuple[str, ...]:
    try:
        return tuple(read_listeners(site))
    except OSError:
        return ()


def _messages(site: Site) -> int | None:
    try:
        return count_all(site.queue, None)
    except OSError:
        return None


def _counters(site: Site) -> dict[str, int]:
    try:
        client = connect_to_scheduler(site)
    except OSError:
        return {}
    if client is None:
        return {}
    try:
        return client.counters()
    except (OSError, ValueError):
        return {}
    finally:
        client.close()


def _problems(site: Site, now: float) -> tuple[Problem, ...]:
    """The last problems that the files of the usual places tell; the journal would take too long."""
    try:
        found = find_sources(site, (), has_journal=False)
    except EqmailError:
        return ()
    problems: list[Problem] = []
    for source in found:
        try:
            with open(source.files[-1], "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
                lines = file.read().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            if any(word in line for word in _ENDINGS):
                when, text = split_time(line, now)
                problems.append(Problem(when, text.decode("utf-8", "replace")))
    return tuple(sorted(problems, key=lambda item: item.when or 0.0)[-MAX_PROBLEMS:])


def _certificate_days(site: Site, now: float) -> int | None:
    try:
        content = read_file(f"{site.control}/{Controls.servercert.file}")
        return None if content is None else int((certificates.read(content).ends.timestamp() - now) // 86400)
    except (OSError, ValueError):
        return None
