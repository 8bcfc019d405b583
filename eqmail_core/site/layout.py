"""The directories of an installation: the three layouts, and the paths below a queue.

This is the only module in which the names of queue directories occur as paths.

Source: programs.md "directory renames"; queue.md 3.1, 3.2.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

HOME_VARIABLE = b"EQMAIL_HOME"
DEFAULT_HOME = "/var/qmail"

GREYLIST_FOLDER = "greylist"
"""The directory of the SMTP server with what it knows of senders."""


def home_of(environ: "Mapping[bytes, bytes]") -> bytes:
    """Return the home that the environment names, else DEFAULT_HOME."""
    return environ.get(HOME_VARIABLE) or DEFAULT_HOME.encode()


def socket_path(home: str, name: str) -> str:
    """Return the path of a socket: "queue", "local", "lookup", "remote", "send" or "smtp"."""
    return f"{home}/run/{name}.sock"


class Layout:
    """Names of the main directories below the home.

    `split_todo`: todo/ and intd/ are split like mess/. `tcpto_size`: size of lock/tcpto, in bytes.
    """

    __slots__ = ("alias", "control", "name", "queue", "split_todo", "tcpto_size", "users")

    def __init__(
        self, name: str, control: str, users: str, queue: str, alias: str, split_todo: bool, tcpto_size: int
    ) -> None:
        self.name = name
        self.control = control
        self.users = users
        self.queue = queue
        self.alias = alias
        self.split_todo = split_todo
        self.tcpto_size = tcpto_size


EQMAIL_109 = Layout("eqmail-1.09", "control", "users", "queue", "alias", True, 2048)
EQMAIL_111 = Layout("eqmail-1.11", "etc", "var/users", "var/queue", "var/alias", True, 2048)
NETQMAIL = Layout("netqmail", "control", "users", "queue", "alias", False, 1024)

LAYOUTS = {layout.name: layout for layout in (EQMAIL_109, EQMAIL_111, NETQMAIL)}

SPLIT_ALWAYS = ("mess", "info", "local", "remote")
SPLIT_IN_EQMAIL = ("intd", "todo")


class QueuePaths:
    """Computes every path below one queue directory; holds no state.

    A message number N is the inode number of its mess file; the split directory is N mod `split`.
    """

    __slots__ = ("_split_todo", "root", "split")

    def __init__(self, root: str, split: int, split_todo: bool) -> None:
        self.root = root
        self.split = split
        self._split_todo = split_todo

    def split_name(self, number: int) -> str:
        """Return the name of a message in the spawner protocols: S/N."""
        return f"{number % self.split}/{number}"

    def mess(self, number: int) -> str:
        """Return the path of the message itself."""
        return f"{self.root}/mess/{number % self.split}/{number}"

    def info(self, number: int) -> str:
        """Return the path of the sender file, whose mtime is the birth of the message."""
        return f"{self.root}/info/{number % self.split}/{number}"

    def channel(self, channel: str, number: int) -> str:
        """Return the path of the recipient list of a channel, "local" or "remote"."""
        return f"{self.root}/{channel}/{number % self.split}/{number}"

    def intd(self, number: int) -> str:
        """Return the path of the envelope while it is being written."""
        return f"{self.root}/intd/{number % self.split}/{number}" if self._split_todo else f"{self.root}/intd/{number}"

    def todo(self, number: int) -> str:
        """Return the path of the complete envelope."""
        return f"{self.root}/todo/{number % self.split}/{number}" if self._split_todo else f"{self.root}/todo/{number}"

    def bounce(self, number: int) -> str:
        """Return the path of the failure texts collected so far; bounce/ is never split."""
        return f"{self.root}/bounce/{number}"

    def todo_dirs(self) -> list[str]:
        """Return all directories of new envelopes."""
        return self._dirs("todo", self._split_todo)

    def info_dirs(self) -> list[str]:
        """Return all directories of info files."""
        return self._dirs("info", True)

    def mess_dirs(self) -> list[str]:
        """Return all directories of messages."""
        return self._dirs("mess", True)

    def channel_dirs(self, channel: str) -> list[str]:
        """Return all directories of recipient lists of a channel, "local" or "remote"."""
        return self._dirs(channel, True)

    def intd_dirs(self) -> list[str]:
        """Return all directories of unfinished envelopes."""
        return self._dirs("intd", self._split_todo)

    def _dirs(self, name: str, is_split: bool) -> list[str]:
        return [f"{self.root}/{name}/{i}" for i in range(self.split)] if is_split else [f"{self.root}/{name}"]

    @property
    def bounces(self) -> str:
        """The directory of the failure texts."""
        return f"{self.root}/bounce"

    @property
    def pid(self) -> str:
        """The directory of files that have no message number yet, and of the number pool."""
        return f"{self.root}/pid"

    @property
    def lock(self) -> str:
        """The directory of locks, trigger and the tcpto table."""
        return f"{self.root}/lock"

    @property
    def trigger(self) -> str:
        """The FIFO that wakes the scheduler."""
        return f"{self.root}/lock/trigger"

    @property
    def sendmutex(self) -> str:
        """The file whose exclusive lock the scheduler holds."""
        return f"{self.root}/lock/sendmutex"

    @property
    def tcpto(self) -> str:
        """The table of remote hosts with recent timeouts."""
        return f"{self.root}/lock/tcpto"

    @property
    def attempts(self) -> str:
        """The file with the reasons of deferrals."""
        return f"{self.root}/lock/attempts"

    @property
    def usage(self) -> str:
        """The file with what submitters have used of their limits."""
        return f"{self.root}/lock/usage"

    @property
    def lease(self) -> str:
        """The file with the lease of this node on a queue that nodes share."""
        return f"{self.root}/lock/lease"

    @property
    def journal(self) -> str:
        """The directory of the journal's segments."""
        return f"{self.root}/journal"
