"""qmail-inject: complete the header of a message and queue it.

    qmail-inject [ -aAhHnN ] [ -f sender ] [ recipient ... ]

A message whose header lines, and the empty one behind them, all end in CRLF is taken as if it had LF; others are taken
as they are.

Source: delivery.md 5.7; qmail-inject(8).
"""

from eqmail_core.inject.qmail_inject import inject


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Queue the message on standard input; 0, 100 or 111."""
    return inject(argv, environ)
