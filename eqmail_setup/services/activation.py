"""Activation of service files: links in the folder that a supervisor scans, then the commands of an init system.

Fails: Refusal where a command is missing or fails, or where no supervisor watches the folder.
"""

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable

from eqmail_setup.errors import EqmailError
from eqmail_setup.services.managers import ServiceFile, ServiceManager
from eqmail_setup.services.supervisor_tools import SUPERVISORS
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateSymlink
from eqmail_setup.transaction.plan import Change

TIMEOUT_S = 120


def next_steps(manager: ServiceManager, pieces: list[ServiceFile]) -> list[str]:
    """The commands that activate these files."""
    links = [f"ln -s {shlex.join([*service_folders(pieces), pieces[0].values.scanned])}/"] if manager.scanned else []
    return links + _commands(manager, pieces)


def _commands(manager: ServiceManager, pieces: list[ServiceFile]) -> list[str]:
    units = [piece.short for piece in pieces if piece.short and "@" not in piece.short]
    values = pieces[0].values
    words = {"name": values.name, "units": shlex.join(units), "scanned": shlex.quote(values.scanned)}
    return [step.format(**words) for step in manager.next]


def _commands_to_wake(manager: ServiceManager, pieces: list[ServiceFile]) -> list[str]:
    """The commands that start what is supervised already: a stopped service stays down, whatever links come and go."""
    if not manager.tools:
        return []
    return [
        SUPERVISORS[manager.tools].up.format(service=shlex.quote(folder))
        for folder in service_folders(pieces)
        if _is_supervised(folder)
    ]


def _is_supervised(folder: str) -> bool:
    """Whether a supervisor reads commands for this service."""
    try:
        os.close(os.open(f"{folder}/supervise/control", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def service_folders(pieces: list[ServiceFile]) -> list[str]:
    """The service folders of a supervisor; none for other managers."""
    return [piece.path for piece in pieces if not piece.template and piece.short and "/" not in piece.short]


def plan_links(manager: ServiceManager, pieces: list[ServiceFile], filesystem: Filesystem) -> list[Change]:
    """The links that a supervisor wants to see, as far as they are missing.

    Fails: Refusal where something else has that name.
    """
    found: list[Change] = []
    for folder in service_folders(pieces) if manager.scanned else ():
        path = f"{pieces[0].values.scanned}/{os.path.basename(folder)}"
        target = filesystem.read_link(path)
        if target is None and snapshot(path, filesystem) is not None:
            raise EqmailError(
                f"{filesystem.display_path(path)}: is there and no link; move it away, or choose --set name=NAME"
            )
        if target != folder:
            found.append(
                Change(filesystem.display_path(path), "missing", f"a link to {folder}", CreateSymlink(path, folder))
            )
    return found


def require_startable(manager: ServiceManager, pieces: list[ServiceFile]) -> None:
    """Refuse before anything is written what could not be started afterwards.

    Fails: Refusal with the remedy.
    """
    for step in _commands(manager, pieces):
        program = shlex.split(step)[0]
        if not shutil.which(program):
            raise EqmailError(
                f"{program} is not installed here, so {manager.title} cannot start services; choose another"
            )
    if manager.sign and not os.path.exists(manager.sign):
        raise EqmailError(f"{manager.title} does not run here ({manager.sign} is missing); --root DIR stages its files")
    if manager.scanned:
        scanner, scanned = SUPERVISORS[manager.tools].scanner, pieces[0].values.scanned
        if not os.path.isdir(scanned):
            raise EqmailError(f"{scanned}: missing; name the folder that {scanner} watches with --set scanned=DIR")
        if not any(_scans(words, scanner, scanned) for words in processes()):
            raise EqmailError(f"no {scanner} watches {scanned}; start it, or name its folder with --set scanned=DIR")


def _scans(words: list[str], scanner: str, scanned: str) -> bool:
    """Whether this is the supervisor, with the folder among its words or as the one in which it was started."""
    if os.path.basename(words[0]) != scanner:
        return False
    return len(words) == 1 or any(os.path.realpath(word) == os.path.realpath(scanned) for word in words[1:])


def processes() -> list[list[str]]:
    """The command lines of the processes of this host, as far as /proc shows them."""
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = os.fsdecode(file.read()).rstrip("\0").split("\0")
        except (OSError, ValueError):
            continue
        if words[0]:
            found.append(words)
    return found


def start(manager: ServiceManager, pieces: list[ServiceFile], write_line: Callable[[str], None]) -> None:
    """Run the commands, reporting each; the links exist already.

    Fails: Refusal at the first that fails, with its output.
    """
    for step in [*_commands(manager, pieces), *_commands_to_wake(manager, pieces)]:
        write_line(step)
        # Into a file: a started service may keep a pipe open forever.
        with tempfile.TemporaryFile() as output:
            try:
                code = subprocess.call(
                    shlex.split(step), stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=TIMEOUT_S
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise EqmailError(f"{step}: {error}; the files are in their places, start them by hand") from error
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip().splitlines()
        if code:
            what = said[-1] if said else f"exit code {code}"
            raise EqmailError(f"{step}: {what}; the files are in their places, start them by hand")
