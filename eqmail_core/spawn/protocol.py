"""The pipes between qmail-send and its classic spawners, qmail-lspawn and qmail-rspawn.

    qmail-send  delnum u8, message name NUL, sender NUL, recipient NUL      deliver; the name is S/N below mess/
    spawner     limit u8                                                    once, at its start
                delnum u8, letter K, Z or D, text NUL                       the report of one delivery

Source: queue.md 3.11; spawn.c.
"""

MAX_NAME = 100
"""Longest name of a message, in bytes including its NUL."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Command:
    """One delivery that qmail-send requests."""

    __slots__ = ("delnum", "name", "recipient", "sender")

    def __init__(self, delnum: int, name: bytes, sender: bytes, recipient: bytes) -> None:
        self.delnum = delnum
        self.name = name
        self.sender = sender
        self.recipient = recipient


class CommandReader:
    """Splits the byte stream of qmail-send into commands."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> "Iterator[Command]":
        """Yield the commands that have become complete."""
        pending = self._pending + data
        while pending.count(b"\0", 1) >= 3:
            name, sender, recipient, rest = pending[1:].split(b"\0", 3)
            yield Command(pending[0], name, sender, recipient)
            pending = rest
        self._pending = pending


def rejection_reason(command: Command) -> bytes:
    """Why a command is invalid, as letter and text; b"" if it is valid."""
    if any(not (48 <= byte <= 57 or (byte == 47 and place)) for place, byte in enumerate(command.name)):
        return b"DInternal error: messid has nonnumerics. (#5.3.5)\n"
    if len(command.name) >= MAX_NAME:
        return b"DInternal error: messid too long. (#5.3.5)\n"
    if not command.name:
        return b"DInternal error: messid too short. (#5.3.5)\n"
    if b"@" not in command.recipient:
        return b"DSorry, address must include host name. (#5.1.3)\n"
    return b""


def report(delnum: int, text: bytes) -> bytes:
    """Render a report; `text` begins with its letter, and ends at its first NUL."""
    return bytes((delnum,)) + text.partition(b"\0")[0] + b"\0"
