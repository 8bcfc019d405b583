"""The setup choices of an installation, which all programs and commands share.

C qmail compiled them in: home, layout, accounts, delimiter, split, limits.

Source: control-files.md 2.8 (conf-*).
"""

from eqmail_core.site.accounts import Accounts
from eqmail_core.site.layout import DEFAULT_HOME, EQMAIL_109, GREYLIST_FOLDER, Layout, QueuePaths, socket_path

DEFAULT_BREAK = b"+"
DEFAULT_SPLIT = 23
DEFAULT_SPAWN = 120
DEFAULT_PATRN = 0o002


class Site:
    """One installation: its home and its setup choices.

    `break_char`: the user-extension delimiter, b"" for none. `split`: the number of split directories.
    `spawn`: the compiled-in concurrency limit of qmail-lspawn and qmail-rspawn.
    `patrn`: the mode bits that a home or a .qmail file must not have.
    `queue_database`: how libpq connects to the database with the queue, "" for a queue in the directory.
    `single_user`: the caller holds all roles, without root.
    `staging_root`: where an installation is being put together for another place, the folder that `home` begins with
    until then; "" for one that is in its place.
    """

    __slots__ = (
        "accounts",
        "break_char",
        "home",
        "layout",
        "patrn",
        "queue_database",
        "single_user",
        "spawn",
        "split",
        "staging_root",
    )

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
        queue_database: str = "",
        staging_root: str = "",
    ) -> None:
        self.home = home
        self.layout = layout
        self.accounts = accounts or Accounts()
        self.break_char = break_char
        self.split = split
        self.spawn = spawn
        self.patrn = patrn
        self.single_user = single_user
        self.queue_database = queue_database
        self.staging_root = staging_root

    @property
    def control(self) -> str:
        """The directory of the control files."""
        return f"{self.home}/{self.layout.control}"

    @property
    def greylist(self) -> str:
        """The database of greylisting."""
        return f"{self.home}/{GREYLIST_FOLDER}/senders.db"

    @property
    def users(self) -> str:
        """The directory of the user database."""
        return f"{self.home}/{self.layout.users}"

    @property
    def alias(self) -> str:
        """The home of the alias user."""
        return f"{self.home}/{self.layout.alias}"

    @property
    def bin(self) -> str:
        """The directory of the programs."""
        return f"{self.home}/bin"

    @property
    def run(self) -> str:
        """The directory of the services' sockets."""
        return f"{self.home}/run"

    @property
    def queue(self) -> QueuePaths:
        """The paths of the queue."""
        return QueuePaths(f"{self.home}/{self.layout.queue}", self.split, self.layout.split_todo)

    def socket(self, name: str) -> str:
        """Return the path of a service's socket; see `layout.socket_path`."""
        return socket_path(self.home, name)
