"""passwd(5): the accounts of a system, one a line.

Source: passwd(5); delivery.md 5.3 (qmail-pw2u.c).
"""

from eqmail_core.text.lines import leading_number


class Account:
    """One account; `uid` and `gid` are the text of the file, `number` is the uid as C reads it: its leading digits."""

    __slots__ = ("gid", "home", "name", "number", "uid")

    def __init__(self, name: bytes, uid: bytes, gid: bytes, home: bytes) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.number = leading_number(uid) or 0


def parse_account(line: bytes) -> Account | None:
    """The account in a line without its newline; None where fields are missing or a NUL is in it."""
    fields = line.split(b":")
    if len(fields) < 7 or b"\0" in line:
        return None
    name, _, uid, gid, _, home = fields[:6]
    return Account(name, uid, gid, home)
