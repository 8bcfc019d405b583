"""Domain names in the ASCII form of the DNS and of domain tables (A-labels, xn--...).

Light: the Unicode tables are imported for the first domain that needs them.

Source: RFC 5890 section 2.3.2.1, RFC 5891; RFC 6531 section 3.2; UTS 46 (what people type).
"""


def ascii_domain(domain: bytes) -> bytes:
    """Convert labels beyond ASCII to A-labels; an ASCII domain is returned byte for byte.

    `domain`: UTF-8. Empty labels, such as that of a suffix with its dot, stay.
    A domain without an ASCII form is returned unchanged: no table and no server lists it.
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
    """Return the comparison key of an entry of a domain table: A-labels, in lower case.

    `entry`: a domain, a suffix with its dot, or BOX@DOMAIN.
    """
    if entry.isascii():
        return entry.lower()
    box, at, domain = entry.rpartition(b"@")
    return (box + at + ascii_domain(domain)).lower()


def preload() -> None:
    """Load the Unicode tables now; a service calls this before it drops privileges."""
    ascii_domain("ü".encode())
