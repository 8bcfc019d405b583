"""The system's table of login sessions.

Source: utmp(5), the layout of Linux with 32-bit times.
"""

import struct

_RECORD = struct.Struct("=hxxi32s4s32s256shhiii16s20s")
_USER_PROCESS = 7


def terminals_of(user: bytes, table: bytes) -> list[bytes]:
    """Names of the terminals, below /dev, on which `user` has a session; only plain names."""
    found = []
    for start in range(0, len(table) - _RECORD.size + 1, _RECORD.size):
        kind, _, line, _, name = _RECORD.unpack_from(table, start)[:5]
        terminal = line.partition(b"\0")[0]
        if kind != _USER_PROCESS or name.partition(b"\0")[0] != user:
            continue
        if terminal and not terminal.startswith(b"/") and b"." not in terminal:
            found.append(terminal)
    return found
