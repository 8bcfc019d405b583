"""The protocol of the scheduler's control socket, run/send.sock.

Clients are root and the scheduler's own account.

    tool       L                                    list messages in memory, running deliveries, and due times
               S                                    counters
               verb NUL target NUL ...              change messages; verb: retry hold release delete bounce move
    scheduler  M message fields NUL ...             a message in memory; its recipients follow
               T recipient NUL ...                  recipients of that message: channel l or r, mark T or D, address
               D channel, number SP due NUL ...     due times of recipient lists on the disk; channel l or r
               O number NUL ...                     messages on the disk with running deliveries
               S name SP number NUL ...             counters
               R number SP result NUL ...           results of targets, in any order
               .                                    the end of one answer

Every packet is a letter and NUL-terminated text. The answer to a request is any number of packets and `.`.
Requests of one connection are answered in order. A target is NUMBER SP STAMP; message numbers are reused, and the stamp
distinguishes the messages. The stamp is `m` and the serial of a message in memory, or the ctime of its info file in
nanoseconds.

Results: `done`; `busy`, deferred until the running deliveries end; `gone`; `changed`, another message has the number or
the message has moved; `new`, not preprocessed yet; anything else is an error text.
"""

LIST, STATS, MESSAGE, RECIPIENTS, DUE, OPEN, RESULTS, END = b"L", b"S", b"M", b"T", b"D", b"O", b"R", b"."

VERBS = (b"retry", b"hold", b"release", b"delete", b"bounce", b"move")
RETRY, HOLD, RELEASE, DELETE, BOUNCE, MOVE = VERBS
"""MOVE acts as DELETE and is logged as a move: the message is already in another queue."""

DONE, BUSY, GONE, CHANGED, NEW = b"done", b"busy", b"gone", b"changed", b"new"

MAX_TARGETS = 500
"""Most targets in one request."""

IN_MEMORY = b"m"
"""First letter of the stamp of a message in memory."""

# Bytes of text in one packet; the record that exceeds it is still in the packet.
_ROOM = 48_000
_CHANNELS = {"local": b"l", "remote": b"r"}
_NAMES = {108: "local", 114: "remote"}

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class MemoryMessageRecord:
    """A message that is only in memory and in the journal.

    `recipients`: channel, whether done, and address. `size` is in bytes, `birth` in seconds since the epoch.
    `bounces`: a failure is bounced to the sender.
    """

    __slots__ = ("birth", "bounces", "number", "recipients", "sender", "serial", "size")

    def __init__(self, serial: int, number: int, birth: int, size: int, sender: bytes, bounces: bool) -> None:
        self.serial = serial
        self.number = number
        self.birth = birth
        self.size = size
        self.sender = sender
        self.bounces = bounces
        self.recipients: list[tuple[str, bool, bytes]] = []


def message_packets(message: MemoryMessageRecord) -> "Iterator[bytes]":
    """Render the M packet of a message and the T packets of its recipients."""
    fields = (
        b"%d" % message.serial,
        b"%d" % message.number,
        b"%d" % message.birth,
        b"%d" % message.size,
        b"%d" % message.bounces,
        message.sender,
    )
    yield MESSAGE + b"\0".join(fields) + b"\0"
    records = (_CHANNELS[channel] + (b"D" if done else b"T") + address for channel, done, address in message.recipients)
    yield from packets(RECIPIENTS, records)


def split_message(packet: bytes) -> MemoryMessageRecord:
    """Read an M packet.  Fails: ValueError."""
    serial, number, birth, size, bounces, sender = fields(packet)
    return MemoryMessageRecord(int(serial), int(number), int(birth), int(size), sender, bounces == b"1")


def split_recipients(packet: bytes) -> "list[tuple[str, bool, bytes]]":
    """Read a T packet.  Fails: KeyError, IndexError."""
    return [(_NAMES[record[0]], record[1] == 68, record[2:]) for record in fields(packet)]


def due_packets(channel: str, times: "Iterable[tuple[int, int]]") -> "Iterator[bytes]":
    """Render D packets with number and due time of every recipient list of a channel."""
    return packets(DUE + _CHANNELS[channel], (b"%d %d" % pair for pair in times))


def split_due(packet: bytes) -> "tuple[str, list[tuple[int, int]]]":
    """Read channel, and number and due time of each list.  Fails: ValueError, KeyError."""
    pairs = [record.split(b" ") for record in fields(packet[1:])]
    return _NAMES[packet[1]], [(int(number), int(due)) for number, due in pairs]


def change_request(verb: bytes, targets: "Iterable[tuple[int, bytes]]") -> bytes:
    """Render the request to change these messages, at most MAX_TARGETS of them."""
    return verb + b"\0" + b"".join(b"%d %b\0" % target for target in targets)


def split_change(packet: bytes) -> "tuple[bytes, list[tuple[int, bytes]]]":
    """Read verb, and number and stamp of each target.  Fails: ValueError."""
    verb, *records = packet[:-1].split(b"\0")
    if verb not in VERBS or not packet.endswith(b"\0") or len(records) > MAX_TARGETS:
        raise ValueError("no request")
    targets = []
    for record in records:
        number, stamp = record.split(b" ")
        if not (number.isdigit() and stamp.removeprefix(IN_MEMORY).isdigit() and len(record) < 64):
            raise ValueError("no target")
        targets.append((int(number), stamp))
    return verb, targets


def pair_packets(letter: bytes, pairs: "Iterable[tuple[bytes, bytes]]") -> "Iterator[bytes]":
    """Render S or R packets; the first word of a pair has no blank."""
    return packets(letter, (b"%b %b" % pair for pair in pairs))


def split_pairs(packet: bytes) -> "list[tuple[bytes, bytes]]":
    """Read the pairs of an S or R packet."""
    return [(name, value) for name, _, value in (record.partition(b" ") for record in fields(packet))]


def packets(letter: bytes, records: "Iterable[bytes]") -> "Iterator[bytes]":
    """Render records in as few packets as possible."""
    packet = bytearray(letter)
    for record in records:
        packet += record
        packet.append(0)
        if len(packet) > _ROOM:
            yield bytes(packet)
            packet[len(letter) :] = b""
    if len(packet) > len(letter):
        yield bytes(packet)


def fields(packet: bytes) -> list[bytes]:
    """Return the texts after the letter."""
    return packet[1:].split(b"\0")[:-1]
