"""A control setting, a set of them, and the kinds that hold one line of text.

A `Control` is a descriptor: on the class it is the declaration, on an instance the value, read once when first used.
`parse` never fails; what a careful administrator should know about the text comes back as remarks.

Light: the kinds that programs which run once per message do not need are in `control.kinds`.
Source: control-files.md 2.1.
"""

from eqmail_core.text.lines import first_line

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Generic, TypeVar, overload

    T = TypeVar("T", covariant=True)
else:

    class Generic:
        """Stands in for typing.Generic, whose import is too dear for programs that run once per message."""

        def __class_getitem__(cls, item):
            return cls

    T = None

    def overload(function):
        return function


class ControlError(Exception):
    """A control file that is there and cannot be read; `name` is its file name."""

    def __init__(self, name: str, error: OSError) -> None:
        super().__init__(f"{error.filename or name}: {error.strerror or error}")
        self.name = name
        self.error = error


class ControlSet:
    """Values of declared settings, each read at first use and kept.

    `read(name)` returns the bytes of a control file or None where it does not exist, and raises OSError otherwise.
    """

    def __init__(self, read: "Callable[[str], bytes | None]", environ: "Mapping[bytes, bytes] | None" = None) -> None:
        self.read = read
        self.environ = environ or {}

    def content(self, name: str) -> bytes | None:
        """The bytes of one control file, None where it is absent.

        Fails: ControlError when it cannot be read.
        """
        try:
            return self.read(name)
        except OSError as error:
            raise ControlError(name, error) from error

    @classmethod
    def declared(cls) -> "dict[str, Control[object]]":
        """Every declaration by its attribute name, in the order of declaration."""
        tables = [table for table in cls.__mro__ if table is not cls] + [cls]
        return {name: item for table in tables for name, item in vars(table).items() if isinstance(item, Control)}


class Control(Generic[T]):
    """One declared setting: file name, default, fallback, override, readers and its manual.

    `entries`: what a value, or each entry of a list or map, is; `control.checks` judges it.  `is_secret`: it may hold
    passwords or keys.  `reload_on_hup`: qmail-send reads it at HUP.  `is_watched`: its readers notice a new file.
    """

    kind = "text"
    words: tuple[bytes, ...] = ()
    """The values that it may have; empty where they are not a choice."""

    def __init__(
        self,
        manual: str,
        *,
        default: "T",
        file: str = "",
        falls_back_to_me: bool = False,
        env: str = "",
        used_by: tuple[str, ...] = (),
        reload_on_hup: bool = False,
        since: str = "",
        entries: str = "",
        is_secret: bool = False,
        is_watched: bool = False,
    ) -> None:
        self.manual = manual
        self.default = default
        self.file = file
        self.falls_back_to_me = falls_back_to_me
        self.env = env
        self.used_by = used_by
        self.reload_on_hup = reload_on_hup
        self.since = since
        self.entries = entries
        self.is_secret = is_secret
        self.is_watched = is_watched
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        self.file = self.file or name

    if TYPE_CHECKING:

        @overload
        def __get__(self, instance: None, owner: type) -> "Control[T]": ...
        @overload
        def __get__(self, instance: ControlSet, owner: type) -> T: ...  # noqa: F811

    def __get__(self, instance: "ControlSet | None", owner: type) -> "Control[T] | T":
        if instance is None:
            return self
        value = self.read(instance)
        vars(instance)[self.name] = value
        return value

    def read(self, source: ControlSet) -> "T":
        """Find the value: environment, then file, then the host's name, then the default.

        Fails: ControlError when the file cannot be read.
        """
        if self.env:
            text = source.environ.get(self.env.encode())
            if text is not None:
                return self.parse(text)[0]
        content = source.content(self.file)
        if content is None and self.falls_back_to_me:
            content = source.content("me")
            if content is not None:
                content = first_line(content) + b"\n"
        return self.default if content is None else self.parse(content)[0]

    def parse(self, text: bytes) -> "tuple[T, list[str]]":
        """Turn the bytes of a file into a value as C does, with remarks for people."""
        raise NotImplementedError(self.kind)


def line_remarks(text: bytes) -> list[str]:
    """What is remarkable about a file of which one line is read."""
    remarks = []
    lines = text.split(b"\n")
    if any(line.strip() for line in lines[1:]):
        remarks.append("only the first line is read")
    if text and not text.endswith(b"\n"):
        remarks.append("the last line does not end in a newline")
    if b"\0" in text:
        remarks.append("contains a NUL byte")
    return remarks


class Line(Control["bytes | None"]):
    """The first line, without trailing blanks; an existing empty file is an empty value."""

    kind = "line"

    def parse(self, text: bytes) -> "tuple[bytes | None, list[str]]":
        """Take the first line."""
        return first_line(text), line_remarks(text)


class Text(Control[bytes]):
    """A line that always has a value, because its default is one."""

    kind = "line"

    def parse(self, text: bytes) -> tuple[bytes, list[str]]:
        """Take the first line."""
        return first_line(text), line_remarks(text)


class HostName(Text):
    """A line that names a host or domain."""

    kind = "host name"

    def parse(self, text: bytes) -> tuple[bytes, list[str]]:
        """Take the first line; remark on what cannot be a host name."""
        value, remarks = super().parse(text)
        if not value:
            remarks.append("is empty")
        elif any(byte <= 32 or byte >= 127 or byte in b'*@/:,;<>()"\\' for byte in value):
            remarks.append("is not a host name")
        return value, remarks


# Programs that read settings.
SMTPD = "qmail-smtpd"
QMTPD = "qmail-qmtpd"
SEND = "qmail-send"
INJECT = "qmail-inject"
REMOTE = "qmail-remote"
LOCAL = "qmail-local"
LMTP = "qmail-lmtp"
QUEUE = "qmail-queue"
START = "qmail-start"
CHKPW = "qmail-chkpw"
POPUP = "qmail-popup"
ALL = ("every program",)

# What a value or an entry is; `control.checks` has the test of each.
HOST, GREETING, LISTENER, NETWORK, ADDRESS = "host name", "greeting", "listener", "network", "address"
NAME_SERVER = "name server"
DOMAIN, WHOLE_DOMAIN, VIRTUAL_DOMAIN, ROUTE = "domain", "whole domain", "virtual domain", "route"
SENDER, PATH, INSTRUCTIONS = "sender", "path", "instructions"
