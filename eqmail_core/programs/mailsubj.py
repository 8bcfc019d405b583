"""mailsubj subject recipient ...: mail standard input, the body, to the recipients.

Exits: 0, 100, 111.  Source: delivery.md 5.8; mailsubj(1).
"""

from eqmail_core.inject.qmail_inject import inject


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Inject the body under a Subject and a To field, which no word can leave."""
    subject = argv[1] if len(argv) > 1 else b""
    fields = (b"Subject: " + subject, b"To: " + b" ".join(argv[2:]))
    header = b"".join(field.replace(b"\n", b"\n ") + b"\n" for field in fields)
    return inject([b"qmail-inject"], environ, header + b"\n")
