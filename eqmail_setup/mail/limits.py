"""Limits of submitters as people see them: what each has used, and what a login or an address is bound to.

Fails: PermissionError for a file of usage that the caller may not read.
"""

import os
from typing import NamedTuple

from eqmail_core.access.client_network import client_network
from eqmail_core.control.submission_limits import ADDRESS, LOGIN, UID, LimitTable, parse_bucket
from eqmail_core.dsn.xtext import decode_xtext
from eqmail_core.queue.limits.limiter import uid_of_user
from eqmail_core.queue.limits.usage import MAX_FILE_BYTES, parse_usage
from eqmail_core.site.site import Site
from eqmail_core.system.files import open_regular, read_upto
from eqmail_core.system.installation import read_controls

FIELDS = {LOGIN: "login", UID: "uid", ADDRESS: "client"}
"""The field of `eqmail queue --where` for each kind of submitter."""


class UsedLimit(NamedTuple):
    """How much a submitter has used of one limit.

    `used` of `burst` units; `free_in_s`: until nothing is used; `over`: messages over it since postmaster was told.
    """

    kind: str
    name: str
    limit: str
    used: int
    burst: int
    free_in_s: int
    over: int

    @property
    def share(self) -> float:
        """The part that is used, from 0 to 1."""
        return self.used / self.burst


def used_limits(site: Site, now: float) -> list[UsedLimit]:
    """What submitters have used, those nearest to a limit first; the services write it every ten seconds."""
    found = []
    for stored in parse_usage(_content(site))[0]:
        for text, free_at in stored.free_at.items():
            bucket = parse_bucket(text)
            if bucket is None or free_at <= now:
                continue
            used = min(-(-(free_at - now) * bucket.count // bucket.period_s), bucket.burst)
            kind, name = stored.subject.kind.decode(), os.fsdecode(decode_xtext(stored.subject.name))
            found.append(UsedLimit(kind, name, text.decode(), int(used), bucket.burst, int(free_at - now), stored.over))
    return sorted(found, key=lambda limit: (-limit.share, limit.kind, limit.name))


def told_submitters(site: Site, now: float) -> list[tuple[str, str, int]]:
    """Kind and name of the submitters about which postmaster was told, and how many messages were over a limit."""
    return [
        (stored.subject.kind.decode(), os.fsdecode(decode_xtext(stored.subject.name)), stored.over)
        for stored in parse_usage(_content(site))[0]
        if stored.told_until > now and stored.over
    ]


def limits_for(site: Site, login: str = "", address: str = "") -> list[str]:
    """What a client is bound to: by its login, if it has one, and by its address."""
    table = read_controls(site).submissionlimits
    if not table:
        return []
    names = ((LOGIN, os.fsencode(login)), (ADDRESS, client_network(os.fsencode(address))))
    return [words for kind, name in names if name for words in _in_words(table, kind, name)]


def _in_words(table: LimitTable, kind: bytes, name: bytes) -> list[str]:
    limits = table.limits_of(kind, name)
    if not limits.buckets:
        return []
    text = b" ".join(bucket.text for bucket in limits.buckets).decode()
    return [f"{kind.decode()} {os.fsdecode(name)}: {text}, {'refused' if limits.refuses else 'held'} beyond it"]


def unknown_users(site: Site) -> list[str]:
    """The local users in the setting that this host does not have."""
    table = read_controls(site).submissionlimits
    return [] if table is None else [os.fsdecode(name) for name in table.resolve_users(uid_of_user)]


def field_for(kind: str) -> str:
    """The field of `eqmail queue --where` for a kind of submitter."""
    return FIELDS[kind.encode()]


def _content(site: Site) -> bytes:
    try:
        fd = open_regular(site.queue.usage)
    except FileNotFoundError:
        return b""
    if fd is None:
        return b""
    try:
        return read_upto(fd, MAX_FILE_BYTES)
    finally:
        os.close(fd)
