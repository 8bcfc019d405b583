"""The records of the queue's journal, and how a reader finds its end.

A segment is a file of fixed size: a header, then records one after the other. The checksum of each record continues
that of the record before it, and the first continues the header's. So a record is valid only after exactly the records
it was written after: what an earlier use of the segment left never passes.

A record also holds 23 bits of the checksum before it, combined with the epoch. After a damaged record the next one is
recognised by trying the other 9 bits, and records of an earlier use do not pass there either. A flag says whether
a commit began with the record: if one begins after a damaged record, that record was on the disk, and is no torn tail.

    header      magic 8, epoch u64, next serial u64, crc32 of these
    record      crc32 of what follows, kind u8, link u23, begins u1, envelope length u32, body length u32,
                serial u64, number u64, birth u32, uid u32, qp u32, envelope, body
    kind R      a message: its body follows
    kind F      a message whose body is in the file of its number: size u64 and crc32 of that follow
    kind T      tombstones: the body is the serials, u64 each, of messages that the journal need not keep

A later record of a serial replaces an earlier one.  Numbers are little-endian; the envelope has no final NUL.
"""

import struct
from zlib import crc32

RECORD, IN_FILE, TOMBSTONES = b"R", b"F", b"T"

_MAGIC = b"EQJRNL1\n"
HEADER = struct.Struct("<8sQQ")
CHECKSUM = struct.Struct("<I")
HEAD = struct.Struct("<IIIQQIII")
_FILE = struct.Struct("<QI")
LINK_BITS = 23
LINK = (1 << LINK_BITS) - 1
"""The part of the checksum before it that a record holds."""

HEADER_SIZE = HEADER.size + CHECKSUM.size
OVERHEAD = CHECKSUM.size + HEAD.size
"""Bytes of a record in addition to its envelope and body."""

IN_FILE_SIZE = _FILE.size


class JournalEntry:
    """One parsed record; `body` is a view into the scanned data."""

    __slots__ = ("birth", "body", "envelope", "kind", "number", "qp", "serial", "uid")

    def __init__(
        self,
        kind: bytes,
        serial: int,
        number: int,
        birth: int,
        uid: int,
        qp: int,
        envelope: bytes,
        body: memoryview,
    ) -> None:
        self.kind = kind
        self.serial = serial
        self.number = number
        self.birth = birth
        self.uid = uid
        self.qp = qp
        self.envelope = envelope
        self.body = body


def header(epoch: int, serial: int) -> tuple[bytes, int]:
    """Return a segment's header, and the checksum that its first record continues."""
    text = HEADER.pack(_MAGIC, epoch, serial)
    crc = crc32(text)
    return text + CHECKSUM.pack(crc), crc


def split_header(data: "bytes | memoryview") -> tuple[int, int, int] | None:
    """Return epoch, next serial and checksum of a header; None if there is none."""
    if len(data) < HEADER_SIZE:
        return None
    magic, epoch, serial = HEADER.unpack_from(data)
    (crc,) = CHECKSUM.unpack_from(data, HEADER.size)
    if magic != _MAGIC or crc != crc32(data[: HEADER.size]):
        return None
    return epoch, serial, crc


def record(
    kind: bytes,
    serial: int,
    number: int,
    birth: int,
    uid: int,
    qp: int,
    envelope: bytes,
    body: bytes,
    before: int,
    epoch: int = 0,
    begins: bool = False,
) -> tuple[bytes, int]:
    """Return the part of a record before its body, and the record's checksum.

    `before`: the checksum before it; `epoch`: that of its segment; `begins`: it is the first of a commit.
    """
    link = kind[0] | ((before ^ epoch) & LINK) << 8 | begins << 31
    head = HEAD.pack(link, len(envelope), len(body), serial, number, birth, uid, qp) + envelope
    crc = crc32(body, crc32(head, before))
    return CHECKSUM.pack(crc) + head, crc


def tombstones(serials: list[int], before: int, epoch: int = 0, begins: bool = False) -> tuple[bytes, int]:
    """Return a whole record of tombstones, and its checksum."""
    body = struct.pack(f"<{len(serials)}Q", *serials)
    head, crc = record(TOMBSTONES, 0, 0, 0, 0, 0, b"", body, before, epoch, begins)
    return head + body, crc


def split_tombstones(body: memoryview) -> tuple[int, ...]:
    """Return the serials of a record of tombstones."""
    return struct.unpack(f"<{len(body) // 8}Q", body)


def in_file(size: int, crc: int) -> bytes:
    """Return the body of a record whose message is in a file."""
    return _FILE.pack(size, crc)


def split_in_file(body: memoryview) -> tuple[int, int]:
    """Return size and checksum of the file."""
    size, crc = _FILE.unpack(body)
    return size, crc
