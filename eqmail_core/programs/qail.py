"""qail [arg ...]: move the new mail of $MAILDIR to $MAIL, then read it with Mail.

Exits with the code of maildir2mbox or of Mail.  Source: programs.md 1.3.
"""

from eqmail_core.tools.mail_reader import read_with


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Move and read."""
    return read_with("Mail", argv, environ)
