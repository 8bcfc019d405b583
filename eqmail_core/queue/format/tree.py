"""The layout of a queue: every folder and fixed file with the role that owns it and its mode.

The group is always the first one (qmail). The files of messages are in `MESSAGE_FILES`. `classify` derives the state
of a message from its files; any other set of files is a fault.

Source: queue.md 3.1, 3.4; INTERNALS of qmail.
"""

from eqmail_core.site.layout import SPLIT_ALWAYS, SPLIT_IN_EQMAIL
from eqmail_core.site.site import Site

FOLDER = "folder"
FILE = "file"
FIFO = "fifo"

_FOLDERS = (
    ("pid", "qmailq", 0o700),
    ("journal", "qmailq", 0o700),
    ("intd", "qmailq", 0o700),
    ("todo", "qmailq", 0o750),
    ("mess", "qmailq", 0o750),
    ("info", "qmails", 0o700),
    ("local", "qmails", 0o700),
    ("remote", "qmails", 0o700),
    ("bounce", "qmails", 0o700),
    ("lock", "qmailq", 0o750),
)

MESSAGE_FILES = {
    "intd": ("qmailq", 0o644),
    "todo": ("qmailq", 0o644),
    "mess": ("qmailq", 0o644),
    "info": ("qmails", 0o600),
    "local": ("qmails", 0o600),
    "remote": ("qmails", 0o600),
    "bounce": ("qmails", 0o600),
}
"""Owner and mode of the files in each folder."""

SERVICE_FILES = {"journal": ("qmailq", 0o600), "pid": ("qmailq", 0o644)}
"""The same for files of the queue service itself, whose names are no numbers."""

WARNED, OLDER_CLOCK = 0o100, 0o010
"""Bits in the mode of info/N; other versions of qmail ignore them.

WARNED: a delay warning was sent. OLDER_CLOCK: info/N belongs to mess/N although it looks older, because the clock was
set back between the two.
"""

MARKS = {"info": WARNED | OLDER_CLOCK}
"""Mode bits that are marks, by folder."""


class QueueNode:
    """One folder or fixed file of a queue.

    `size`: zero bytes that a file is created with; with `grows` it has other sizes later. A folder with `split` has its
    files in folders 0 to split-1 of the same kind.
    """

    __slots__ = ("grows", "kind", "mode", "path", "role", "size", "split")

    def __init__(
        self, path: str, kind: str, role: str, mode: int, size: int = 0, split: int = 0, grows: bool = False
    ) -> None:
        self.path = path
        self.kind = kind
        self.role = role
        self.mode = mode
        self.size = size
        self.split = split
        self.grows = grows

    def parts(self) -> "list[QueueNode]":
        """Return the numbered folders in it."""
        return [QueueNode(f"{self.path}/{part}", FOLDER, self.role, self.mode) for part in range(self.split)]


def split_folders(site: Site) -> tuple[str, ...]:
    """Return the folders whose files are spread over numbered folders."""
    return SPLIT_ALWAYS + SPLIT_IN_EQMAIL if site.layout.split_todo else SPLIT_ALWAYS


def queue_nodes(site: Site) -> list[QueueNode]:
    """Return every node of a queue, parents first, without the numbered folders."""
    queue = site.queue
    split = dict.fromkeys(split_folders(site), site.split)
    nodes = [QueueNode(queue.root, FOLDER, "qmailq", 0o750)]
    for name, role, mode in _FOLDERS:
        nodes.append(QueueNode(f"{queue.root}/{name}", FOLDER, role, mode, split=split.get(name, 0)))
    nodes.append(QueueNode(queue.sendmutex, FILE, "qmails", 0o600))
    nodes.append(QueueNode(queue.attempts, FILE, "qmails", 0o600, grows=True))
    nodes.append(QueueNode(queue.tcpto, FILE, "qmailr", 0o644, site.layout.tcpto_size))
    nodes.append(QueueNode(queue.trigger, FIFO, "qmails", 0o622))
    return nodes


def queue_tree(site: Site) -> list[QueueNode]:
    """Return every node of a queue, parents first."""
    return [each for node in queue_nodes(site) for each in (node, *node.parts())]


NOTHING, BEING_WRITTEN, ENVELOPE_BEING_WRITTEN, QUEUED, PREPROCESSED = "S1", "S2", "S3", "S4", "S5"

_LEFT_FROM_PREPROCESSING = {"intd", "info", "local", "remote"}


def classify(files: "set[str] | frozenset[str]", is_journaled: bool = False) -> str | None:
    """Return the state of a message with files in these folders; None if no state has them.

    A record in the journal does for mess/N what todo/N does: info/N, local/N and remote/N can be made again from it.
    """
    if is_journaled and "mess" in files:
        files = files | {"todo"}
    if not files:
        return NOTHING
    if files == {"mess"}:
        return BEING_WRITTEN
    if files == {"mess", "intd"}:
        return ENVELOPE_BEING_WRITTEN
    if {"mess", "todo"} <= files <= {"mess", "todo"} | _LEFT_FROM_PREPROCESSING:
        return QUEUED
    if {"mess", "info"} <= files <= {"mess", "info", "local", "remote", "bounce"}:
        return PREPROCESSED
    return None
