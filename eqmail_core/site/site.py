"""The choices made when an installation was set up, which programs and later commands must agree on.

They are what C qmail compiled in: home, layout, accounts, delimiter, split, limits.

Source: control-files.md 2.8 (conf-*).
"""

from eqmail_core.site.accounts import Accounts
from eqmail_core.site.layout import DEFAULT_HOME, EQMAIL_109, Layout, QueuePaths, socket_path

DEFAULT_BREAK = b"+"
DEFAULT_SPLIT = 23
DEFAULT_SPAWN = 120
DEFAULT_PATRN = 0o002


class Site:
    """One installation: where it is and what was chosen for it.

    `break_char` is the user-extension delimiter (b"" disables it); `patrn` are the mode bits that a home or a
    .qmail file must not have; `single_user`: all roles are played by the caller, without root.
    """

    __slots__ = ("accounts", "break_char", "home", "layout", "patrn", "single_user", "spawn", "split")

    def __init__(
        self,
        home: str = DEFAULT_HOME,
        layout: Layout = EQMAIL_109,
        accounts: Accounts | None = None,
        break_char: bytes = DEFAULT_BREAK,
        split: int = DEFAULT_SPLIT,
        spawn: int = DEFAULT_SPAWN,
        patrn: int = DEFAULT_PATRN,
        single_user: bool = False,
    ) -> None:
        self.home = home
        self.layout = layout
        self.accounts = accounts or Accounts()
        self.break_char = break_char
        self.split = split
        self.spawn = spawn
        self.patrn = patrn
        self.single_user = single_user

    @property
    def control(self) -> str:
        """Directory of the control files."""
        return f"{self.home}/{self.layout.control}"

    @property
    def users(self) -> str:
        """Directory of the user database."""
        return f"{self.home}/{self.layout.users}"

    @property
    def alias(self) -> str:
        """Home of the alias user."""
        return f"{self.home}/{self.layout.alias}"

    @property
    def bin(self) -> str:
        """Directory of the programs."""
        return f"{self.home}/bin"

    @property
    def run(self) -> str:
        """Directory of the services' sockets."""
        return f"{self.home}/run"

    @property
    def queue(self) -> QueuePaths:
        """Paths of the queue."""
        return QueuePaths(f"{self.home}/{self.layout.queue}", self.split, self.layout.split_todo)

    def socket(self, name: str) -> str:
        """Path of the socket of a service, see `home.socket_path`."""
        return socket_path(self.home, name)
