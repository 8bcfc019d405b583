"""Listening TCP ports of this host and their processes, from /proc of Linux; empty elsewhere.

Fails: never; what may not be looked at stays without a name.
Source: proc(5): /proc/net/tcp, /proc/PID/fd.
"""

import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

_LISTEN = "0A"
_TABLES = (("/proc/net/tcp", socket.AF_INET), ("/proc/net/tcp6", socket.AF_INET6))


class Listener(NamedTuple):
    """One listening socket; `pids` hold it, and `program` is the name of the first of them, "" if it is not known."""

    address: str
    port: int
    pids: tuple[int, ...]
    program: str

    def describe(self) -> str:
        """The process, for people."""
        return f"{self.program} (process {self.pids[0]})" if self.pids else "another program"


def listeners() -> list[Listener]:
    """Every listening socket of this host's network."""
    found = [(address, port, inode) for path, family in _TABLES for address, port, inode in _table(path, family)]
    holders = _holders({inode for _, _, inode in found}) if found else {}
    return [
        Listener(address, port, tuple(sorted(holders.get(inode, ()))), _name_of(holders.get(inode, [])))
        for address, port, inode in found
    ]


def holder_of(address: str, port: int) -> bool:
    """Whether a server could not listen there now."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except PermissionError:
            return False
        except OSError:
            return True
    return False


def descendants(pid: int) -> set[int]:
    """A process and all processes that it started, and they in turn."""
    parents: dict[int, list[int]] = {}
    for entry in _numbers("/proc"):
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                parents.setdefault(int(file.read().rpartition(")")[2].split()[1]), []).append(entry)
        except (OSError, ValueError, IndexError):
            continue
    found, waiting = {pid}, [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found |= set(children)
        waiting += children
    return found


def _table(path: str, family: int) -> Iterator[tuple[str, int, int]]:
    try:
        with open(path, encoding="ascii") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) > 9 and fields[3] == _LISTEN:
            host, _, port = fields[1].partition(":")
            # Each 32 bits are in the order of this machine.
            words = [struct.pack("=I", int(host[place : place + 8], 16)) for place in range(0, len(host), 8)]
            yield socket.inet_ntop(family, b"".join(words)), int(port, 16), int(fields[9])


def _holders(inodes: set[int]) -> dict[int, list[int]]:
    expected = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, list[int]] = {}
    for pid in _numbers("/proc"):
        try:
            names = os.listdir(f"/proc/{pid}/fd")
        except OSError:
            continue
        for name in names:
            try:
                inode = expected.get(os.readlink(f"/proc/{pid}/fd/{name}"))
            except OSError:
                continue
            if inode is not None and pid not in found.setdefault(inode, []):
                found[inode].append(pid)
    return found


def _name_of(pids: list[int]) -> str:
    for pid in sorted(pids):
        try:
            with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                return file.read().strip()
        except OSError:
            continue
    return ""


def _numbers(folder: str) -> list[int]:
    try:
        return [int(entry) for entry in os.listdir(folder) if entry.isdigit()]
    except OSError:
        return []
