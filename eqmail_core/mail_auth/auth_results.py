"""The field Authentication-Results, written and read.

Source: RFC 8601 section 2.2; RFC 8617 section 4.1.1 (the same content behind an instance).
"""

import re

from eqmail_core.mail.header import field_name, field_text
from eqmail_core.text.sanitize import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FIELD = b"Authentication-Results"

MAX_FIELD = 65536
"""Longest field that is read, in bytes."""

MAX_VALUE = 320
"""Longest value that is written, in bytes."""

_BARE = re.compile(rb"(?:[A-Za-z0-9.!#$%&'*+/?^_`{|}~-]*@)?[A-Za-z0-9.!#$%&'*+/?^_`{|}~-]+")
_TOKEN = re.compile(rb"""[ \t\r\n]+|"((?:[^"\\]|\\.)*)"|([;=])|([^ \t\r\n"();=]+)|(\()""", re.S)
_JOINTS = (b".", b"/", b"@")
_IN_COMMENT = re.compile(rb"[()]|\\.", re.S)


class InvalidResults(ValueError):
    """A field that is no Authentication-Results."""


class MethodResult:
    """The result of one method: `properties` are pairs such as (b"header.d", b"example.org").

    `comment` and `reason`: in words, b"" for none.
    """

    __slots__ = ("comment", "method", "properties", "reason", "result")

    def __init__(
        self,
        method: bytes,
        result: bytes,
        properties: "Sequence[tuple[bytes, bytes]]" = (),
        reason: bytes = b"",
        comment: bytes = b"",
    ) -> None:
        self.method = method
        self.result = result
        self.properties = list(properties)
        self.reason = reason
        self.comment = comment

    def property(self, name: bytes) -> bytes:
        """Return the value of the first property of a name, b"" if it has none."""
        return next((value for known, value in self.properties if known == name), b"")


def render_results(host: bytes, results: "Sequence[MethodResult]") -> bytes:
    """Return the field without its LF, one method on each line.

    `host`: the authserv-id, the name of the host that made the results.
    """
    return b"%b: %b;\n\t%b" % (FIELD, _quoted(host), b";\n\t".join(map(_render, results)) or b"none")


def _render(result: MethodResult) -> bytes:
    words = [b"%b=%b" % (result.method, result.result)]
    if result.comment:
        words.append(b"(%b)" % re.sub(rb"[()\\\n]", b"?", plain(result.comment[:MAX_VALUE])))
    if result.reason:
        words.append(b"reason=" + _in_quotes(result.reason))
    words += [b"%b=%b" % (name, _quoted(value)) for name, value in result.properties]
    return b" ".join(words)


def _quoted(value: bytes) -> bytes:
    return value if len(value) <= MAX_VALUE and _BARE.fullmatch(value) else _in_quotes(value)


def _in_quotes(value: bytes) -> bytes:
    text = plain(value[:MAX_VALUE]).replace(b"\t", b" ")
    return b'"%b"' % re.sub(rb'(["\\])', rb"\\\1", text)


def parse_results(text: bytes) -> tuple[bytes, list[MethodResult]]:
    """Read the content of a field: the authserv-id and the results.

    Comments are dropped.
    Fails: InvalidResults.
    """
    host, groups = _host_and_results(text)
    return host, [_method(words) for words in groups if words and words != [b"none"]]


def claims_to_be_from(field: bytes, host: bytes) -> bool:
    """Return whether a field is an Authentication-Results of `host`; one that cannot be read is if it names it."""
    if field_name(field) != FIELD.lower():
        return False
    try:
        return _host_and_results(field_text(field))[0].lower() == host.lower()
    except InvalidResults:
        return host.lower() in field.lower()


def without_own(fields: "Iterable[bytes]", host: bytes) -> list[bytes]:
    """Return the fields without those Authentication-Results that claim to come from `host`."""
    return [field for field in fields if not claims_to_be_from(field, host)]


def _host_and_results(text: bytes) -> tuple[bytes, list[list[bytes]]]:
    """Return the host, and the words of each result; a version behind the host does not matter."""
    head, *groups = _words(_tokens(text))
    if not head:
        raise InvalidResults("no host")
    return head[0], groups


def _tokens(text: bytes) -> list[tuple[bytes, bytes]]:
    """Return pairs of kind and text.

    The kinds are ";", "=" (also for a lone dot, slash or @), " " (also for a comment) and "w".
    """
    if len(text) > MAX_FIELD:
        raise InvalidResults("field too long")
    tokens = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise InvalidResults("unclosed quote or comment")
        at = found.end()
        quoted, special, word, comment = found.groups()
        if comment:
            at = _end_of_comment(text, at)
        if quoted is not None:
            tokens.append((b"w", re.sub(rb"\\(.)", rb"\1", quoted, flags=re.S)))
        elif word:
            tokens.append((b"=" if word in _JOINTS else b"w", word))
        else:
            tokens.append((special or b" ", special or b""))
    return tokens


def _end_of_comment(text: bytes, at: int) -> int:
    depth = 1
    while depth:
        found = _IN_COMMENT.search(text, at)
        if found is None:
            raise InvalidResults("unclosed comment")
        at = found.end()
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
    return at


def _words(tokens: list[tuple[bytes, bytes]]) -> list[list[bytes]]:
    """Return the words between semicolons; blanks around an equals sign and the like do not end one."""
    groups: list[list[bytes]] = [[]]
    last = b" "
    pending = False
    for kind, text in tokens:
        if kind == b" ":
            pending = True
            continue
        if kind == b";":
            groups.append([])
        elif not groups[-1] or (pending and kind != b"=" and last != b"="):
            groups[-1].append(text)
        else:
            groups[-1][-1] += text
        last, pending = kind, False
    return groups


def _method(words: list[bytes]) -> MethodResult:
    method, equals, result = words[0].partition(b"=")
    if not equals or not method:
        raise InvalidResults("no result of a method")
    found = MethodResult(method.partition(b"/")[0].lower(), result.lower())
    for word in words[1:]:
        name, equals, value = word.partition(b"=")
        if not equals:
            raise InvalidResults(f"no property: {word[:40]!r}")
        if name.lower() == b"reason":
            found.reason = value
        else:
            found.properties.append((name.lower(), value))
    return found
