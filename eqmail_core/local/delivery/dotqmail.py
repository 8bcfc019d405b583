"""Delivery instructions: the lines of a .qmail file or of the default delivery, in order.

Source: dot-qmail(5).
"""

MAILDIR, MBOX, PROGRAM, FORWARD, REFUSED = b"maildir", b"mbox", b"program", b"forward", b"refused"

_BLANKS = b" \t"
_BLANK_START = b"Uh-oh: first line of .qmail file is blank. (#4.2.1)"
_FORBIDDEN = b"Uh-oh: .qmail has %b delivery but has x bit set. (#4.7.0)"

TYPE_CHECKING = False
if TYPE_CHECKING:
    Instruction = tuple[bytes, bytes]


def parse(text: bytes, forward_only: bool = False) -> "list[Instruction]":
    """Parse instructions as (kind, argument); a forbidden line ends them as (REFUSED, reason).

    Instructions before a refused line still apply.  Arguments are unchanged, NUL bytes included; see `plain`.  A text
    without a line has a blank first line.
    """
    instructions: list[Instruction] = []
    lines = text.split(b"\n")
    if not lines[-1] and len(lines) > 1:
        lines.pop()
    for number, line in enumerate(lines):
        line = line.rstrip(_BLANKS)
        first = line[:1]
        if first in (b"", b"\0"):
            if number == 0:
                return [(REFUSED, _BLANK_START)]
        elif first == b"#":
            pass
        elif first == b"+":
            forward_only = forward_only or plain(line) == b"+list"
        elif first in (b".", b"/"):
            if forward_only:
                return [*instructions, (REFUSED, _FORBIDDEN % b"file")]
            instructions.append((MAILDIR if line.endswith(b"/") else MBOX, line))
        elif first == b"|":
            if forward_only:
                return [*instructions, (REFUSED, _FORBIDDEN % b"prog")]
            instructions.append((PROGRAM, line[1:]))
        else:
            instructions.append((FORWARD, line[1:] if first == b"&" else line))
    return instructions


def plain(argument: bytes) -> bytes:
    """The part of an argument that the system sees: up to the first NUL."""
    return argument.partition(b"\0")[0]
