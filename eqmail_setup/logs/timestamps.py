"""The time at the beginning of a log line, in the forms of the usual loggers.

    @400000006926...                 TAI64N: multilog, s6-log
    2026-12-01_12:36:59.123456       svlogd -tt, in UTC
    2026-12-01 12:36:59.123456       tai64nlocal, s6-tai64nlocal, eqmail run; local time
    2026-12-01T12:36:59+00:00 HOST TAG:   syslog, journalctl -o short-iso
    Dec  1 12:36:59 HOST TAG:        syslog of old; local time, the year is the latest that is not in the future
    1733056619.123456 [HOST TAG:]    splogger, journalctl -o short-unix

Fails: never; a line of another form has no time.
"""

import re
import time
from datetime import UTC, datetime

TAI64N_BASE = (1 << 62) + 10
"""TAI seconds at the epoch, as daemontools counts them (without leap seconds after 1972)."""

_TAI64N = re.compile(rb"@([0-9a-f]{16})([0-9a-f]{8}) ")
_ISO = re.compile(rb"(\d{4})-(\d\d)-(\d\d)([ _T])(\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:?\d\d)? ")
_SYSLOG = re.compile(rb"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +(\d+) (\d\d):(\d\d):(\d\d) ")
_UNIX = re.compile(rb"(\d{9,11}(?:\.\d+)?) ")
# `delivery 4: success: ...` is a line of qmail-send, not a host with its tag.
_TAG = re.compile(rb"(?!delivery \d+: )[\w.-]+ [\w./-]+(?:\[\d+\])?: ")
_MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_DAY_S = 86400


def split_time(line: bytes, now: float) -> tuple[float | None, bytes]:
    """Return the time of a line, None without one, and what the program wrote.

    `now`: for the year of a line that has none.
    """
    when, rest = _first(line, now)
    if when is None:
        return None, line
    tag = _TAG.match(rest)
    if tag is not None:
        rest = rest[tag.end() :]
    # splogger puts a time of its own behind the tag of syslog.
    inner = _UNIX.match(rest)
    if inner is not None and tag is not None:
        return float(inner[1]), rest[inner.end() :]
    return when, rest


def _first(line: bytes, now: float) -> tuple[float | None, bytes]:
    found = _TAI64N.match(line)
    if found is not None:
        return int(found[1], 16) - TAI64N_BASE + int(found[2], 16) / 1e9, line[found.end() :]
    found = _UNIX.match(line)
    if found is not None:
        return float(found[1]), line[found.end() :]
    found = _ISO.match(line)
    if found is not None:
        return _iso_time(found), line[found.end() :]
    found = _SYSLOG.match(line)
    if found is not None:
        return _syslog_time(found, now), line[found.end() :]
    return None, line


def _iso_time(found: "re.Match[bytes]") -> float | None:
    year, month, day, hour, minute, second = (int(found[index]) for index in (1, 2, 3, 5, 6, 7))
    fraction = float(b"0." + found[8]) if found[8] else 0.0
    try:
        if found[9]:
            text = found[9].decode().replace("Z", "+00:00")
            zone = datetime.strptime(text.replace(":", ""), "%z").tzinfo
            return datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp() + fraction
        zone = UTC if found[4] == b"_" else None
        return datetime(year, month, day, hour, minute, second, tzinfo=zone).timestamp() + fraction
    except (ValueError, OverflowError):
        return None


def _syslog_time(found: "re.Match[bytes]", now: float) -> float | None:
    year = time.localtime(now).tm_year
    month = _MONTHS.index(found[1]) + 1
    day, hour, minute, second = (int(found[index]) for index in (2, 3, 4, 5))
    for candidate in (year, year - 1):
        try:
            when = datetime(candidate, month, day, hour, minute, second).timestamp()
        except (ValueError, OverflowError):
            continue
        if when <= now + _DAY_S:
            return when
    return None
