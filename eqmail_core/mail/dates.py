"""The date formats of mail; the time is always an argument, in seconds since the epoch.

Source: control-files.md 2.10; RFC 5322 section 3.3; RFC 4155 (mbox).
"""

from time import gmtime, localtime

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def date822(now: float) -> bytes:
    """Format local time with a numeric zone, as in Date and Received fields.

    Example: b"2 Nov 2026 20:31:41 -0500".
    """
    t = localtime(now)
    minutes = (t.tm_gmtoff or 0) // 60
    sign = "-" if minutes < 0 else "+"
    minutes = abs(minutes)
    return (
        f"{t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} "
        f"{sign}{minutes // 60:02}{minutes % 60:02}"
    ).encode()


def ctime_utc(now: float) -> bytes:
    """Format UTC as in an mbox From_ line: b"Mon Nov 02 01:31:41 2026"."""
    t = gmtime(now)
    day = f"{_DAYS[t.tm_wday]} {_MONTHS[t.tm_mon - 1]} {t.tm_mday:02}"
    return f"{day} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} {t.tm_year}".encode()


def stamp_utc(now: float) -> bytes:
    """UTC as in a Message-ID: b"20261102013141"."""
    t = gmtime(now)
    return f"{t.tm_year}{t.tm_mon:02}{t.tm_mday:02}{t.tm_hour:02}{t.tm_min:02}{t.tm_sec:02}".encode()
