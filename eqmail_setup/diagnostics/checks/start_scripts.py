"""What the doctor reads in the scripts that start our programs: those written for C qmail stay, and some do not fit.

Fails: never; a script that cannot be read is passed over.
Source: softlimit(8), chpst(8), xinetd.conf(5); Life with qmail 2.8.2, whose limits many scripts have.
"""

import os
import re
import stat
from collections.abc import Collection, Iterator
from glob import escape, glob
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_upto
from eqmail_setup.diagnostics.finding import ERROR, WARNING, Finding
from eqmail_setup.services.options import MEMORY_BYTES

PLACES = (
    "/service/*/run",
    "/etc/service/*/run",
    "/var/service/*/run",
    "/run/service/*/run",
    "/etc/sv/*/run",
    "/etc/s6/sv/*/run",
    "{home}/supervise/*/run",
    "{home}/boot/*",
    "{home}/rc",
    "/etc/init.d/*",
    "/etc/rc.d/init.d/*",
    "/etc/rc.local",
    "/etc/xinetd.d/*",
)
"""Where such scripts usually lie."""

LEAST_BYTES, ENOUGH_BYTES = 24_000_000, 64_000_000
"""What qmail-smtpd needs of address space to begin with TLS, and what is enough for AUTH and plugins, too."""

_LONGEST_SCRIPT = 100_000
_PROGRAMS = r"(?:qmail-(?:start|smtpd|qmtpd|qmqpd|popup|pop3d)|tcp-env)\b"
_CHECKER = re.compile(rb"\bqmail-smtpd[ \t\\\n]+(?![\w./-]*/)([\w-]+(?:\.[\w-]+)+)[ \t\\\n]+[\w./$-]")


class _Limit(NamedTuple):
    """How a script limits the memory of a program: number and unit in a text, and the factor without a unit."""

    pattern: re.Pattern[bytes]
    factor: int


_LIMITS = (
    _Limit(re.compile(rb"\b(?:s6-)?softlimit\b[^#\n;|&]*?\s-[amd]\s*(\d+)()"), 1),
    _Limit(re.compile(rb"\bchpst\b[^#\n;|&]*?\s-[md]\s*(\d+)()"), 1),
    _Limit(re.compile(rb"\bulimit\s+(?:-[SH]\s+)*-[SH]*[vd]\s+(\d+)()"), 1024),
    _Limit(re.compile(rb"\brlimit_(?:as|data)\s*=\s*(\d+)([KkMm]?)"), 1),
)
_UNITS = {b"": 1, b"k": 1024, b"m": 1024 * 1024}


def check_start_scripts(site: Site, places: tuple[str, ...] | None = None) -> Iterator[Finding]:
    """Scripts that give our programs too little memory, or words that they take for others."""
    for path, text in _start_scripts(site, places):
        amounts = [_bytes(limit, *found) for limit in _LIMITS for found in limit.pattern.findall(text)]
        least = min(amounts, default=ENOUGH_BYTES)
        if least < ENOUGH_BYTES:
            weight, hurt = (
                (ERROR, "too few") if least < LEAST_BYTES else (WARNING, "perhaps too few for AUTH and plugins")
            )
            fact = f"{path}: allows {least} bytes of memory, {hurt}"
            yield Finding("scripts.memory", weight, fact, f"allow {MEMORY_BYTES}, or take the limit out")
        for name in {name.decode() for name in _CHECKER.findall(text)}:
            fact = f"{path}: {name}, the first word after qmail-smtpd, would be run to check passwords"
            yield Finding("scripts.checker", WARNING, fact, "take the name out; the checker comes first")


def _start_scripts(site: Site, places: tuple[str, ...] | None) -> Iterator[tuple[str, bytes]]:
    """Path and text of each script, without its comments, that names a program of this installation."""
    own = re.compile(rf"(?:(?<![\w/.-])|{re.escape(site.bin)}/|\$\{{?\w+\}}?/bin/){_PROGRAMS}".encode())
    yield from ((path, text) for path, text in script_texts(site, places) if own.search(text))


def script_texts(site: Site, places: tuple[str, ...] | None = None) -> Iterator[tuple[str, bytes]]:
    """Path and text of each script in these places, or the usual ones, without its comments."""
    patterns = [place.format(home=escape(site.home)) for place in (PLACES if places is None else places)]
    paths = {os.path.realpath(path) for pattern in patterns for path in glob(pattern)}
    for path in sorted(paths):
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            text = read_upto(fd, _LONGEST_SCRIPT) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
        except OSError:
            continue
        finally:
            os.close(fd)
        text = re.sub(rb"(?m)^\s*#.*$", b"", text)
        if b"\0" not in text:
            yield path, text


def readers_of_settings(site: Site, names: Collection[str], places: tuple[str, ...] | None = None) -> dict[str, str]:
    """Which of these files of the folder of settings a script reads, each with the first script that names it."""
    readers: dict[str, str] = {}
    folder = os.path.basename(site.control).encode()
    expected = {name: re.compile(rb"(?<![\w.-])%b(?![\w.-])" % re.escape(os.fsencode(name))) for name in names}
    texts = script_texts(site, places) if expected else ()
    for path, text in ((path, text) for path, text in texts if folder in text):
        for name, pattern in expected.items():
            if name not in readers and pattern.search(text):
                readers[name] = path
    return readers


def _bytes(limit: _Limit, number: bytes, unit: bytes) -> int:
    return int(number) * limit.factor * _UNITS[unit.lower()]
