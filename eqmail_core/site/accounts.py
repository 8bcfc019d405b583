"""The roles of the system and the accounts that hold them.

Source: programs.md "uid names", conf-users, conf-groups; the documented mapping of accounts to groups.
"""

# Role names, in the order of the lines of conf-users; "owner" owns the installed files (root).
ROLES = ("alias", "qmaild", "qmaill", "owner", "qmailp", "qmailq", "qmailr", "qmails")
USERS = ("alias", "qmaild", "qmaill", "root", "qmailp", "qmailq", "qmailr", "qmails")
GROUPS = ("qmail", "nofiles")

# Primary group of each role: 0 = the first group (qmail), 1 = the second (nofiles).
GROUP_OF = {
    "alias": 1,
    "qmaild": 1,
    "qmaill": 1,
    "qmailp": 1,
    "owner": 0,
    "qmailq": 0,
    "qmailr": 0,
    "qmails": 0,
}


class Accounts:
    """The account name of each role, and the names of the two groups."""

    __slots__ = ("groups", "users")

    def __init__(self, users: tuple[str, ...] = USERS, groups: tuple[str, ...] = GROUPS) -> None:
        self.users = dict(zip(ROLES, users, strict=True))
        self.groups = groups

    def user(self, role: str) -> str:
        """Return the account name of a role."""
        return self.users[role]

    def group(self, role: str) -> str:
        """Return the group name of a role."""
        return self.groups[GROUP_OF[role]]


class PeerCredentials:
    """Process, user and group of a Unix socket's peer, as the kernel states them."""

    __slots__ = ("gid", "pid", "uid")

    def __init__(self, pid: int, uid: int, gid: int) -> None:
        self.pid = pid
        self.uid = uid
        self.gid = gid
