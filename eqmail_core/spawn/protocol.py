"""The pipes between qmail-send and its classic spawners, qmail-lspawn and qmail-rspawn.

    qmail-send  delnum u8, message name NUL, sender NUL, recipient NUL      deliver; the name is S/N below mess/
    spawner     limit u8                                                    once, at its start
                delnum u8, letter K, Z or D, text NUL                       the report of one delivery

Source: queue.md 3.11; spawn.c.
"""

from eqmail_core.outcome import PERMANENT, TEMPORARY, DeliveryResult

MAX_NAME = 100
"""Longest name of a message, in bytes including its NUL."""

NO_MESSAGE = DeliveryResult(TEMPORARY, b"qmail-spawn unable to open message. (#4.3.0)\n")
WRONG_TYPE = DeliveryResult(TEMPORARY, b"Sorry, message has wrong type. (#4.3.5)\n")
WRONG_OWNER = DeliveryResult(TEMPORARY, b"Sorry, message has wrong owner. (#4.3.5)\n")
NO_HOST = DeliveryResult(PERMANENT, b"Sorry, address must include host name. (#5.1.3)\n")
NO_FORK = DeliveryResult(TEMPORARY, b"qmail-spawn unable to fork. (#4.3.0)\n")
LEASE_IS_OVER = DeliveryResult(
    TEMPORARY, b"The lease of this node is over; another one may have the message. (#4.3.2)\n"
)
"""Results of deliveries that did not start."""

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


def rejection(command: Command) -> DeliveryResult | None:
    """Return the result of a command that is invalid; None if it is valid."""
    if any(not (48 <= byte <= 57 or (byte == 47 and place)) for place, byte in enumerate(command.name)):
        return DeliveryResult(PERMANENT, b"Internal error: messid has nonnumerics. (#5.3.5)\n")
    if len(command.name) >= MAX_NAME:
        return DeliveryResult(PERMANENT, b"Internal error: messid too long. (#5.3.5)\n")
    if not command.name:
        return DeliveryResult(PERMANENT, b"Internal error: messid too short. (#5.3.5)\n")
    if b"@" not in command.recipient:
        return NO_HOST
    return None


def report(delnum: int, result: DeliveryResult) -> bytes:
    """Render a report; its text ends at the first NUL."""
    return bytes((delnum,)) + (result.outcome + result.text).partition(b"\0")[0] + b"\0"
