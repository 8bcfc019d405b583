"""Domains beyond ASCII: the form that the DNS and every table of domains know (A-labels, xn--...).

Light: the tables of Unicode are imported for the first domain that needs them.

Source: RFC 5890 section 2.3.2.1, RFC 5891; RFC 6531 section 3.2; UTS 46 (what people type).
"""


def ascii_domain(domain: bytes) -> bytes:
    """The domain with A-labels in the place of labels beyond ASCII; ASCII stays as it is, byte for byte.

    `domain`: UTF-8; empty labels, as of a suffix with its dot, stay.
    A domain that has no such form is returned unchanged: no table and no server has it.
    Fails: never.
    """
    if domain.isascii():
        return domain
    import idna

    try:
        text = idna.uts46_remap(domain.decode("utf-8"), std3_rules=False, transitional=False)
        labels = [label.encode("ascii") if label.isascii() else idna.alabel(label) for label in text.split(".")]
    except UnicodeError:  # idna.IDNAError is one
        return domain
    return b".".join(labels)


def table_key(entry: bytes) -> bytes:
    """A domain, a suffix with its dot, or BOX@DOMAIN as tables of domains compare it: A-labels, in lower case."""
    if entry.isascii():
        return entry.lower()
    box, at, domain = entry.rpartition(b"@")
    return (box + at + ascii_domain(domain)).lower()


def preload() -> None:
    """Load the tables now: a service does so as long as it can read all files."""
    ascii_domain("ü".encode())
