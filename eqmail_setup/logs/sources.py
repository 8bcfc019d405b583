"""Where the logs of the services are, and their lines in the order of time.

Files and multilog folders, named or in the usual places; else the journal of systemd. Lines are read as a stream, the
older file first; compressed files (.gz, .xz, .bz2) and saved journals are read too.

Fails: EqmailError where no log is found, or one cannot be read, for lack of permission too.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from glob import escape, glob
from typing import IO, NamedTuple, cast

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.logs.journal_export import plain_lines
from eqmail_setup.logs.timestamps import split_time

FOLDERS = (
    "{home}/log/*",
    "/var/log/qmail/*",
    "/var/log/qmail",
    "/service/qmail*/log/main",
    "/etc/service/qmail*/log/main",
)
"""Folders in which a supervised logger usually keeps its files."""

FILES = ("/var/log/mail.log", "/var/log/maillog", "/var/log/mail/mail.log")
"""Files in which syslog usually keeps what services of mail say."""

JOURNAL_UNITS = ("qmail*", "eqmail*")
"""Units whose journal is read."""

_ROTATED = ("@*", "_*")


class LogSource(NamedTuple):
    """One log: the files of a folder or a single one, the oldest first; or the journal, without files."""

    name: str
    files: tuple[str, ...] = ()


def find_sources(site: Site, given: Iterable[str], has_journal: bool | None = None) -> list[LogSource]:
    """The logs that were named, else those in the usual places, else the journal.

    `has_journal`: whether this system has one, None to find out.
    """
    named = [_named(path) for path in given]
    if named:
        return named
    places = [path for place in FOLDERS for path in sorted(glob(place.format(home=escape(site.home))))]
    found = [LogSource(path, files) for path in places if (files := _files_of(path))]
    found += [LogSource(path, _with_rotated(path)) for path in FILES if os.path.isfile(path)] if not found else []
    if not found and (shutil.which("journalctl") is not None if has_journal is None else has_journal):
        found = [LogSource("journal")]
    closed = [path for path in places if os.path.isdir(path) and not os.access(path, os.R_OK | os.X_OK)]
    if closed and not any(source.files for source in found):
        raise permission_required(f"{closed[0]}: the log of the services is readable for root only")
    if not found:
        raise EqmailError("no log found in the usual places; name files or folders with --file")
    return found


def read_lines(sources: Iterable[LogSource], since: float, now: float) -> Iterator[tuple[float | None, bytes]]:
    """Time and text of each line that is not older than `since`; a line without a time is as old as the one before."""
    for source in sources:
        latest: float | None = None
        for line in _journal_lines(since) if not source.files else _file_lines(source, since):
            when, text = split_time(line, now)
            latest = when if when is not None else latest
            if latest is None or latest >= since:
                yield latest, text


def _named(path: str) -> LogSource:
    if os.path.isdir(path):
        files = _files_of(path)
        if not files:
            raise EqmailError(f"--file {path}: the folder has no file `current`")
        return LogSource(path, files)
    if not os.path.exists(path):
        raise EqmailError(f"--file {path}: does not exist")
    return LogSource(path, (path,))


def _files_of(folder: str) -> tuple[str, ...]:
    """The files of a logger's folder: the rotated ones, whose names sort by age, then `current`."""
    current = f"{folder}/current"
    if not os.path.isfile(current):
        return ()
    rotated = [path for pattern in _ROTATED for path in glob(f"{escape(folder)}/{pattern}") if os.path.isfile(path)]
    return (*sorted(rotated), current)


def _with_rotated(path: str) -> tuple[str, ...]:
    older = [found for suffix in (".1", ".0") if os.path.isfile(found := path + suffix)]
    return (*older, path)


def _file_lines(source: LogSource, since: float) -> Iterator[bytes]:
    for path in source.files:
        try:
            if os.path.getmtime(path) < since:
                continue
            with _opened(path) as file:
                yield from plain_lines(file)
        except PermissionError as error:
            raise permission_required(f"{path}: the log of the services is readable for root only") from error
        except OSError as error:
            raise EqmailError(f"{path}: {error.strerror or error}") from error


def _opened(path: str) -> IO[bytes]:
    if path.endswith(".gz"):
        import gzip

        return cast(IO[bytes], gzip.open(path))
    if path.endswith(".xz"):
        import lzma

        return cast(IO[bytes], lzma.open(path))
    if path.endswith(".bz2"):
        import bz2

        return cast(IO[bytes], bz2.open(path))
    return open(path, "rb")


def _journal_lines(since: float) -> Iterator[bytes]:
    units = [word for unit in JOURNAL_UNITS for word in ("-u", unit)]
    command = ["journalctl", "--no-pager", "-q", "-o", "short-unix", "--since", f"@{int(since)}", *units]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None
            yield from process.stdout
    except OSError as error:
        raise EqmailError(f"journalctl: {error.strerror or error}") from error
