"""The user that a local address belongs to, and the exit codes of a failed lookup.

The user database, qmail-getpw, the spawner and the delivery agent exchange this value.

Source: delivery.md 5.1, 5.2; qmail-users(5); qmail-getpw(8).
"""

# Exit codes between qmail-lspawn, its child and qmail-getpw; qmail-lspawn converts each to a report text.
LOOKUP_USAGE = 112
LOOKUP_ROOT = 113
LOOKUP_HOME_AWAY = 115
LOOKUP_NO_ALIAS = 116
LOOKUP_DATABASE = 117
LOOKUP_SYSTEM = 118
LOOKUP_NO_MEMORY = 119
LOOKUP_CANNOT_RUN_GETPW = 121

# More digits than the ids of any system have.
_MAX_DIGITS = 18


class LookupFailed(Exception):
    """The owner of an address is currently unknown; `code` is one of the LOOKUP_* exit codes."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class User:
    """An account with the extension of the address.

    `home`: a path; its .qmail files are named .qmail + `dash` + `ext`. The ids need not belong to an account.
    """

    __slots__ = ("dash", "ext", "gid", "home", "name", "uid")

    def __init__(self, name: bytes, uid: int, gid: int, home: bytes, dash: bytes, ext: bytes) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.dash = dash
        self.ext = ext

    @classmethod
    def from_fields(cls, fields: list[bytes]) -> "User":
        """Create a user from the first six fields, as the database and qmail-getpw return them.

        An id is read from its leading digits; it is 0 if there are none or too many. Nothing is delivered as root.
        Fails: LookupFailed(112) for fewer than six fields.
        """
        if len(fields) < 6:
            raise LookupFailed(LOOKUP_USAGE)
        name, uid, gid, home, dash, ext = fields[:6]
        return cls(name, _leading_digits(uid), _leading_digits(gid), home, dash, ext)

    def fields(self) -> list[bytes]:
        """Return the six fields, with numbers in decimal."""
        return [self.name, b"%d" % self.uid, b"%d" % self.gid, self.home, self.dash, self.ext]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, User) and self.fields() == other.fields()

    def __hash__(self) -> int:
        return hash(tuple(self.fields()))

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.uid}, {self.gid}, {self.home!r}, {self.dash!r}, {self.ext!r})"


def _leading_digits(field: bytes) -> int:
    digits = field[: len(field) - len(field.lstrip(b"0123456789"))]
    return int(digits) if 0 < len(digits) <= _MAX_DIGITS else 0
