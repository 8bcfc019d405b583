"""Lists of tags `name=value; name=value`, the form of DKIM, ARC and DMARC records and signatures.

Strict: a duplicate tag, an empty tag between two semicolons or a byte that no value may have spoils the whole list.

Source: RFC 6376 section 3.2; RFC 8616 section 4 (UTF-8 in values).
"""

import re

_FWS = rb"[ \t\r\n]*"
_TAG = re.compile(
    _FWS + rb"([A-Za-z][A-Za-z0-9_]*)" + _FWS + rb"=" + _FWS + rb"([\x21-\x3a\x3c-\x7e\x80-\xff \t\r\n]*)"
)
_BLANKS = b" \t\r\n"


class InvalidTagList(ValueError):
    """Text that is no list of tags."""


def parse_tags(text: bytes) -> dict[bytes, bytes]:
    """Return the tags in order, values without blanks around them.

    Names are case-sensitive. Blanks inside of a value stay.
    Fails: InvalidTagList.
    """
    tags: dict[bytes, bytes] = {}
    parts = text.split(b";")
    if len(parts) > 1 and not parts[-1].strip(_BLANKS):
        parts.pop()
    for part in parts:
        found = _TAG.fullmatch(part)
        if found is None:
            raise InvalidTagList(f"no tag: {part[:40]!r}")
        name, value = found.groups()
        if name in tags:
            raise InvalidTagList(f"duplicate tag {name.decode()}")
        tags[name] = value.rstrip(_BLANKS)
    return tags


def without_blanks(value: bytes) -> bytes:
    """Return a value without the blanks and folds that base64 and lists may have."""
    return value.translate(None, _BLANKS)


def split_list(value: bytes, separator: bytes = b":") -> list[bytes]:
    """Return the members of a list such as h=, without blanks around them."""
    return [member.strip(_BLANKS) for member in value.split(separator)]
