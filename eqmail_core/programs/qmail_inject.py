"""qmail-inject: complete the header of a message and queue it.

    qmail-inject [ -aAhHnN ] [ -f sender ] [ recipient ... ]

Source: delivery.md 5.7; qmail-inject(8).
"""

from eqmail_core.net.injector import inject


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Queue the message on standard input; 0, 100 or 111."""
    return inject(argv, environ)
