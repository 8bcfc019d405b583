"""What helps others to understand a problem of an installation: one archive without passwords, keys and mail.

It holds versions, findings, the state of the services, settings whose secrets are blanked, and the end of the log.
Files that may hold secrets of another form are only named. Addresses can be replaced by pseudonyms, each the same
throughout the archive and different in the next one.

Fails: OSError where the archive cannot be written.
"""

import hashlib
import io
import json
import os
import platform
import re
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import eqmail_core
from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Opaque
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import render_site
from eqmail_core.system.files import read_file
from eqmail_setup.diagnostics.finding import Finding
from eqmail_setup.diagnostics.status import InstallationStatus
from eqmail_setup.errors import EqmailError
from eqmail_setup.logs.sources import find_sources, read_lines
from eqmail_setup.settings.secrets import redact_file

MAX_LOG_LINES = 2000
"""Lines of the log in an archive."""

MAX_FILE_BYTES = 65536
"""Longest settings file in an archive."""

LOG_PERIOD_S = 86400
"""How far back the log goes."""

FOLDER = "eqmail-report"

_ADDRESS = re.compile(rb"[A-Za-z0-9._%+=#!~-]+(?=@[A-Za-z0-9\[])")


class BundleFile(NamedTuple):
    """One file of the archive."""

    name: str
    content: bytes


def bundle_files(
    site: Site, status: InstallationStatus, findings: Iterable[Finding], logs: Iterable[str], now: float
) -> Iterator[BundleFile]:
    """Yield the files of an archive; `logs`: log files that were named."""
    uname = platform.uname()
    versions = {
        "eqmail": eqmail_core.VERSION,
        "python": platform.python_version(),
        "system": f"{uname.system} {uname.release} {uname.machine}",
        "time": datetime.fromtimestamp(now, UTC).isoformat(),
    }
    yield BundleFile("versions.json", _json(versions))
    yield BundleFile("site", render_site(site))
    yield BundleFile("status.json", _json(status._asdict()))
    yield BundleFile("findings.json", _json([finding.value() for finding in findings]))
    yield from _settings(site)
    yield BundleFile("log.txt", _log(site, logs, now))


def _settings(site: Site) -> Iterator[BundleFile]:
    """Every declared setting of text, its secrets blanked; of all other files the names and sizes."""
    known = {control.file: control for control in Controls.declared().values()}
    listing = []
    for name in sorted(os.listdir(site.control)):
        path = f"{site.control}/{name}"
        found = os.lstat(path)
        listing.append(f"{found.st_mode:o} {found.st_uid}:{found.st_gid} {found.st_size} {name}\n")
        control = known.get(name)
        if control is None or isinstance(control, Opaque) or found.st_size > MAX_FILE_BYTES or not os.path.isfile(path):
            continue
        try:
            content = read_file(path) or b""
        except OSError:
            continue
        if b"\0" not in content and b"PRIVATE KEY" not in content:
            yield BundleFile(f"control/{name}", redact_file(name, content))
    yield BundleFile("control.listing", "".join(listing).encode())


def _log(site: Site, logs: Iterable[str], now: float) -> bytes:
    try:
        lines = read_lines(find_sources(site, logs), now - LOG_PERIOD_S, now)
        kept = deque(lines, MAX_LOG_LINES)
    except EqmailError as error:
        return f"{error.text}\n".encode()
    return b"".join(b"%.3f %b" % (when or 0.0, text if text.endswith(b"\n") else text + b"\n") for when, text in kept)


def pseudonyms() -> Callable[[bytes], bytes]:
    """A function that replaces the local parts of addresses, the same one by the same word."""
    salt = os.urandom(16)

    def replaced(found: "re.Match[bytes]") -> bytes:
        return b"user-" + hashlib.sha256(salt + found[0].lower()).hexdigest()[:8].encode()

    return lambda content: _ADDRESS.sub(replaced, content)


def write_bundle(path: str, files: Iterable[BundleFile], replace: Callable[[bytes], bytes], now: float) -> list[str]:
    """Write the archive, which only its owner can read; the names of its files."""
    names = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for item in files:
            content = replace(item.content)
            entry = tarfile.TarInfo(f"{FOLDER}/{item.name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now)
            archive.addfile(entry, io.BytesIO(content))
            names.append(item.name)
    return names


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, default=lambda item: getattr(item, "value", str(item))).encode() + b"\n"
