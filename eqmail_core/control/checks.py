"""What is wrong with the text of a control file: one table, by which `config set`, lint, check and doctor judge.

A program reads leniently, as C does, and what its parser remarks is part of this; beside it stand what cannot be seen
in an editor (text/invisible_characters.py) and what the entries have to be, by the kind that the declaration names.
Services that cannot go by an entry use the same functions (text/listen_address.py), so that all programs accept the
same values.

Secrets are never part of a sentence.
"""

from collections.abc import Callable, Iterator
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from eqmail_core.control.kinds import ForeignFile
from eqmail_core.control.list_kinds import Lines, Map
from eqmail_core.control.setting import (
    ADDRESS,
    DOMAIN,
    GREETING,
    HOST,
    INSTRUCTIONS,
    LISTENER,
    NAME_SERVER,
    NETWORK,
    PATH,
    ROUTE,
    SENDER,
    VIRTUAL_DOMAIN,
    WHOLE_DOMAIN,
    Control,
)
from eqmail_core.mail.domain_name import ascii_domain
from eqmail_core.text.invisible_characters import cleaned, oddities, visible
from eqmail_core.text.lines import first_line, non_empty_lines
from eqmail_core.text.listen_address import WANTED, parse_listen_address

_STAR = "has a * that matches nothing: .DOMAIN stands for every host below it"

Check = Callable[[bytes], str]
"""What is wrong with an entry, to be said behind it; "" for nothing."""


_MAX_LABEL = 63


class Trouble(NamedTuple):
    """What is wrong in line `line`, from 1, or with the whole file, 0."""

    line: int
    said: str


def troubles(control: Control[Any], text: bytes) -> Iterator[Trouble]:
    """Everything that is wrong with this text as the content of a control file, the invisible first."""
    if isinstance(control, ForeignFile):
        return
    yield from (Trouble(number, what) for number, what in oddities(text))
    text = cleaned(text)
    yield from _of_lines(control, text) if isinstance(control, Lines | Map) else _of_value(control, text)


def _of_lines(control: Control[Any], text: bytes) -> Iterator[Trouble]:
    check = CHECKS.get(control.entries, _anything)
    said = set()
    for number, line in enumerate(text.split(b"\n"), 1):
        remarks = control.parse(line + b"\n")[1]
        said |= set(remarks)
        yield from (Trouble(number, remark) for remark in remarks)
        for entry in () if remarks else non_empty_lines(line):
            problem = check(entry)
            if problem:
                yield Trouble(number, f"'{_without_secrets(control, entry)}' {problem}")
    yield from (Trouble(0, remark) for remark in control.parse(text)[1] if remark not in said)


def _of_value(control: Control[Any], text: bytes) -> Iterator[Trouble]:
    yield from (Trouble(0, remark) for remark in control.parse(text)[1])
    if control.kind == "file":
        check = CHECKS.get(control.entries, _anything)
        problem = check(text)
        if problem:
            yield Trouble(0, problem)
        return
    value = first_line(text)
    if value[:1] in (b" ", b"\t"):
        yield Trouble(1, "begins with a blank, which is part of the value")
    problem = CHECKS.get(control.entries, _anything)(value)
    if problem:
        yield Trouble(1, f"'{visible(value)}' {problem}" if value else problem)


def _without_secrets(control: Control[Any], entry: bytes) -> str:
    """An entry for people; of a map no more than the first word, for passwords stand behind it."""
    return visible(entry.partition(b" ")[0] if isinstance(control, Map) else entry)


def _anything(value: bytes) -> str:
    return ""


def _listen(value: bytes) -> str:
    return "" if parse_listen_address(value.decode("utf-8", "surrogateescape")) else WANTED


def _network(value: bytes) -> str:
    try:
        ip_network(value.decode("latin-1"), strict=False)
    except ValueError:
        return "is not an address or a network such as 192.0.2.0/24"
    return ""


def _address(value: bytes) -> str:
    try:
        ip_address(value.decode("latin-1"))
    except ValueError:
        return "is not an address such as 192.0.2.1 or 2001:db8::1"
    return ""


def _name_server(value: bytes) -> str:
    if value.lower() in (b"loopback", b"off"):
        return ""
    return "is not loopback, off or an address such as 192.0.2.53" if _address(value) else ""


def _host(value: bytes) -> str:
    if not value:
        return "is empty; every host has a name"
    bad = any(byte <= 32 or byte >= 127 or byte in b'*@/:,;<>()"\\' for byte in value)
    return "is not a host name" if bad or not value.strip(b".") else _labels(value)


def _labels(name: bytes) -> str:
    """What is wrong with the labels of a name.  Source: RFC 1035 section 2.3.4; RFC 5321 section 2.3.5."""
    if name.endswith(b"."):
        return "ends in a dot; leave it out"
    if not all(name.split(b".")):
        return "has an empty label"
    return "has a label of more than 63 characters" if max(map(len, name.split(b"."))) > _MAX_LABEL else ""


def _greeting(value: bytes) -> str:
    if not value.strip():
        return "is empty; its first word should be the name of this host"
    return "" if value.isascii() else "is not ASCII, which clients expect"


def _domain(value: bytes) -> str:
    if b"*" in value:
        return _STAR
    known = ascii_domain(value)
    bad = any(byte <= 32 or byte >= 127 or byte in b'@/:,;<>()"\\' for byte in known)
    return "is not a domain" if bad or not known.strip(b".") else _labels(known.removeprefix(b"."))


def _whole_domain(value: bytes) -> str:
    if value.startswith(b"."):
        return "begins with a dot and matches nothing here; virtualdomains knows suffixes"
    return _domain(value)


def _key(value: bytes) -> str:
    """What is wrong with the key of a map: a domain, a suffix, an address, or nothing for all."""
    if b"*" in value:
        return f"{_STAR}, an empty domain for all"
    return _domain(value.rpartition(b"@")[2]) if value else ""


def _virtual(value: bytes) -> str:
    key, _, prefix = value.partition(b":")
    if prefix[:1] in (b" ", b"\t"):
        return "has a blank behind the colon, which would be part of every address"
    if b"@" in prefix or b" " in prefix:
        return "has no user behind the colon, but an address or more than one word; forward from that user's .qmail"
    return _key(key)


def _route(value: bytes) -> str:
    key, _, rest = value.partition(b":")
    if rest[:1] in (b" ", b"\t"):
        return "has a blank behind the colon, so it names no relay"
    target, blank, credentials = rest.partition(b" ")
    port = target.rpartition(b"]")[2].partition(b":")[2]
    if port and not (port.isdigit() and 0 < int(port[:6]) < 1 << 16):
        return "has an invalid port"
    if blank and b" " not in credentials.strip():
        return "has a user without a password"
    return _key(key)


def _bad_sender(value: bytes) -> str:
    if b"*" in value:
        return "has a * that matches nothing: @HOST stands for every address at a host, .DOMAIN for hosts below it"
    return "" if b"@" in value or value.startswith(b".") else "matches no address: write @HOST, .DOMAIN or BOX@HOST"


def _delivery(text: bytes) -> str:
    """What is wrong with the instructions for users who have none of their own."""
    lines = text.split(b"\n")
    if not lines[0].strip():
        return "has no instruction in its first line; ./Maildir/ or ./Mailbox is one"
    for line in lines:
        if line.startswith(b"~"):
            return f"'{visible(line)}' is an address, as ~ means no home here; write ./ for it"
        if line[:1] not in (b".", b"/", b"|", b"&", b"#", b"+", b"") and b"/" in line and b"@" not in line:
            return f"'{visible(line)}' is an address; write ./ before the name of a mailbox"
        if line[:1] in (b".", b"/") and line.rstrip().lower().endswith(b"maildir"):
            return f"'{visible(line)}' is an mbox; the name of a Maildir ends in /"
    return ""


def _path(value: bytes) -> str:
    return "" if value.startswith(b"/") else "does not begin with a slash"


CHECKS: dict[str, Check] = {
    HOST: _host,
    GREETING: _greeting,
    LISTENER: _listen,
    NETWORK: _network,
    ADDRESS: _address,
    NAME_SERVER: _name_server,
    ROUTE: _route,
    DOMAIN: _domain,
    WHOLE_DOMAIN: _whole_domain,
    VIRTUAL_DOMAIN: _virtual,
    SENDER: _bad_sender,
    PATH: _path,
    INSTRUCTIONS: _delivery,
}
"""The test of each kind of entry; a declaration names its kind (`Control.entries`)."""
