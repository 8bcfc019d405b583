"""Generates users/assign from the accounts of a system.

Pure: a callable supplies the owners of homes.

Source: delivery.md 5.3 (qmail-pw2u.c); qmail-pw2u(8); passwd(5).
"""

from errno import ENOENT

from eqmail_core.text.lines import leading_number
from eqmail_core.users.assign_file import END, simple_line, wildcard_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class Account:
    """One account of passwd(5).

    `uid`, `gid`: the text of the file. `number`: the uid as C reads it, from its leading digits.
    """

    __slots__ = ("gid", "home", "name", "number", "uid")

    def __init__(self, name: bytes, uid: bytes, gid: bytes, home: bytes) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.number = leading_number(uid) or 0


def parse_account(line: bytes) -> Account | None:
    """Parse a line of passwd(5) without its LF; None if fields are missing or it contains a NUL."""
    fields = line.split(b":")
    if len(fields) < 7 or b"\0" in line:
        return None
    name, _, uid, gid, _, home = fields[:6]
    return Account(name, uid, gid, home)


# Requirements on a home directory.
ANY_HOME = 0
HOME_MUST_EXIST = 1
SKIP_BAD_HOME = 2


class CannotAssign(Exception):
    """No assign file can be generated; `text` is the reason."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode("latin-1"))
        self.text = text


class AssignRules:
    """The rules that select accounts and shape their lines.

    `include`, `exclude`: names in lower case, None without such a list.
    `mail_names`: colon-separated local parts by account name, which is in lower case.
    `subusers`: lines without LF. `append`: lines for the end. `dash`: the dash field of wildcards.
    """

    def __init__(self, alias: bytes, break_char: bytes) -> None:
        self.alias = alias
        self.break_char = break_char
        self.dash = b"-"
        self.homes = SKIP_BAD_HOME
        self.allow_upper_case = False
        self.include: set[bytes] | None = None
        self.exclude: set[bytes] | None = None
        self.mail_names: dict[bytes, bytes] = {}
        self.subusers: list[bytes] = []
        self.append = b""


def assign_text(
    rules: AssignRules, passwd: "Iterable[bytes]", home_owner: "Callable[[bytes], int]"
) -> "Iterator[bytes]":
    """Generate the lines of the assign file: the accounts in order, then the subusers.

    `passwd`: lines without LF. `home_owner(home)` returns a uid or raises OSError.
    Fails: CannotAssign, when the iteration reaches the error.
    """
    kept: dict[bytes, Account] = {}
    has_alias = False
    for line in passwd:
        account = parse_account(line)
        if account is None or not _counts(rules, account, home_owner):
            continue
        kept[account.name.lower()] = account
        if account.name == rules.alias:
            has_alias = True
            yield wildcard_line(b"", _fields(account, rules.dash, b""))
        names = rules.mail_names.get(account.name.lower(), account.name)
        for name in filter(None, names.split(b":")):
            yield simple_line(name, _fields(account, b"", b""))
            if rules.break_char:
                yield wildcard_line(name + rules.break_char, _fields(account, rules.dash, b""))
    if not has_alias:
        raise CannotAssign(b"unable to find " + rules.alias + b" user")
    for line in rules.subusers:
        yield from _subuser_lines(rules, kept, line)
    yield rules.append
    yield END


def _counts(rules: AssignRules, account: Account, home_owner: "Callable[[bytes], int]") -> bool:
    if account.number == 0 or (not rules.allow_upper_case and account.name != account.name.lower()):
        return False
    name = account.name.lower()
    if rules.include is not None and name not in rules.include:
        return False
    if rules.exclude is not None and name in rules.exclude:
        return False
    if rules.homes == ANY_HOME:
        return True
    try:
        return home_owner(account.home) == account.number
    except OSError as error:
        if error.errno == ENOENT and rules.homes == SKIP_BAD_HOME:
            return False
        raise CannotAssign(b"unable to stat " + account.home) from error


def _subuser_lines(rules: AssignRules, kept: dict[bytes, Account], line: bytes) -> "Iterator[bytes]":
    parts = line.split(b":")
    if len(parts) < 3:
        return
    name, owner = parts[:2]
    account = kept.get(owner.lower())
    if account is None:
        raise CannotAssign(b"unable to find " + owner + b" user for subuser")
    if len(parts) > 3:
        yield simple_line(name, _fields(account, rules.dash, parts[2]))
        if rules.break_char:
            yield wildcard_line(name + rules.break_char, _fields(account, rules.dash, parts[2] + b"-"))


def _fields(account: Account, dash: bytes, ext: bytes) -> tuple[bytes, ...]:
    return account.name, account.uid, account.gid, account.home, dash, ext
