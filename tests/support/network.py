"""A private network of hosts: namespaces on bridges that exist for one test, and links that are cut, one-way too.

The thread that makes the network is a host of it, the hub; its threads and children are in the network with it, and
nothing there reaches the machine's.  All of it ends with this process.

    with private_network("data", "mail") as network:
        host = network.host()
        subprocess.run([*host.enter, "ip", "address"])
        host.cut("data", OUT)
        host.restore("data")

Fails: OSError where the machine gives no namespaces; AssertionError, with the output of `ip`.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_COMMAND_S = 60

BOTH, OUT, IN = "both ways", "from it", "to it"
"""In which direction of a link nothing passes."""

_NOBODY = "02:00:00:00:00:00"
"""A hardware address that no host has: what is sent there is lost without a word."""

_SLOW = (
    ("netem", "delay", "40ms", "20ms", "loss", "1%"),
    ("tbf", "rate", "2mbit", "burst", "16k", "latency", "200ms"),
)
"""Disciplines that make a link slow; the first that the kernel has is taken."""


class Host:
    """A host with an address on every bridge; `enter` begins a command that runs there."""

    def __init__(self, network: "Network", number: int) -> None:
        self._network = network
        self._number = number
        # It ends with the thread that made it.
        command = ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "sh", "-c", "echo; exec sleep infinity"]
        self._holder = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout is not None
        self._holder.stdout.readline()
        self.enter = ("nsenter", f"--net=/proc/{self._holder.pid}/ns/net")
        self._run("link", "set", "lo", "up")
        for bridge in network.bridges:
            outside = self._outside(bridge)
            _ip("link", "add", outside, "type", "veth", "peer", "name", bridge, "netns", str(self._holder.pid))
            _ip("link", "set", outside, "master", bridge, "up")
            self._run("address", "add", f"{self.address(bridge)}/24", "dev", bridge)
            self._run("link", "set", bridge, "up")

    def address(self, bridge: str) -> str:
        """Its address on a bridge."""
        return self._network.address(bridge, self._number)

    def cut(self, bridge: str, way: str = BOTH) -> None:
        """Let nothing pass its link to a bridge any more, in one direction or both."""
        if way == BOTH:
            _ip("link", "set", self._outside(bridge), "down")
        elif way == OUT:
            for number in self._network.numbers - {self._number}:
                self._lose(bridge, number)
        else:
            for host in self._network.hosts:
                if host is not self:
                    host._lose(bridge, self._number)
            _ip("neighbor", "replace", self.address(bridge), "lladdr", _NOBODY, "dev", bridge, "nud", "permanent")

    def restore(self, bridge: str) -> None:
        """Let everything pass again."""
        _ip("link", "set", self._outside(bridge), "up")
        for number in self._network.numbers - {self._number}:
            self._find(bridge, number)
        for host in self._network.hosts:
            if host is not self:
                host._find(bridge, self._number)
        _ip("neighbor", "delete", self.address(bridge), "dev", bridge, may_fail=True)

    def slow(self, bridge: str) -> bool:
        """Make what it sends to a bridge slow and lossy; False where the kernel cannot."""
        words = ("tc", "qdisc", "replace", "dev", bridge, "root")
        return any(
            subprocess.run([*self.enter, *words, *kind], capture_output=True, timeout=_COMMAND_S).returncode == 0
            for kind in _SLOW
        )

    def end_slow(self, bridge: str) -> None:
        """End `slow`."""
        words = ("tc", "qdisc", "delete", "dev", bridge, "root")
        subprocess.run([*self.enter, *words], capture_output=True, timeout=_COMMAND_S)

    def end(self) -> None:
        """End the namespace, as soon as no process of others is in it."""
        self._holder.kill()
        self._holder.wait()

    def _lose(self, bridge: str, number: int) -> None:
        address = self._network.address(bridge, number)
        self._run("neighbor", "replace", address, "lladdr", _NOBODY, "dev", bridge, "nud", "permanent")

    def _find(self, bridge: str, number: int) -> None:
        self._run("neighbor", "delete", self._network.address(bridge, number), "dev", bridge, may_fail=True)

    def _outside(self, bridge: str) -> str:
        return f"{bridge}{self._number}"

    def _run(self, *words: str, may_fail: bool = False) -> None:
        _ip(*words, enter=self.enter, may_fail=may_fail)


class Network:
    """Bridges, each with 198.18.N.0/24 (RFC 2544: for tests), and the hosts on them; the hub is number 1."""

    def __init__(self, bridges: tuple[str, ...]) -> None:
        self.bridges = bridges
        self.hosts: list[Host] = []
        _ip("link", "set", "lo", "up")
        for bridge in bridges:
            _ip("link", "add", bridge, "type", "bridge")
            _ip("address", "add", f"{self.address(bridge)}/24", "dev", bridge)
            _ip("link", "set", bridge, "up")

    @property
    def numbers(self) -> set[int]:
        """The numbers of all hosts, the hub's too."""
        return set(range(1, len(self.hosts) + 2))

    def address(self, bridge: str, number: int = 1) -> str:
        """The address of a host on a bridge; number 1 is the hub."""
        return f"198.18.{self.bridges.index(bridge) + 1}.{number}"

    def host(self) -> Host:
        """Another host."""
        made = Host(self, len(self.hosts) + 2)
        self.hosts.append(made)
        return made


@contextmanager
def private_network(*bridges: str) -> Iterator[Network]:
    """A network whose hub is this thread until the end."""
    library = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    with ExitStack() as stack:
        stack.callback(os.close, before)
        if library.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot have a network namespace")
        stack.callback(library.setns, before, _CLONE_NEWNET)
        network = Network(bridges)
        try:
            yield network
        finally:
            for host in network.hosts:
                host.end()


def trouble() -> str:
    """Why this machine gives no such network; empty where it does."""
    missing = [name for name in ("ip", "nsenter", "unshare", "setpriv") if shutil.which(name) is None]
    if missing:
        return f"needs {', '.join(missing)}"
    if not Path("/proc/thread-self/ns/net").exists():
        return "needs network namespaces"
    tried = subprocess.run(
        ["unshare", "--net", "ip", "link", "add", "b0", "type", "bridge"], capture_output=True, text=True, timeout=60
    )
    return tried.stderr.strip() if tried.returncode else ""


def _ip(*words: str, enter: tuple[str, ...] = (), may_fail: bool = False) -> None:
    done = subprocess.run([*enter, "ip", *words], capture_output=True, text=True, timeout=_COMMAND_S)
    assert may_fail or done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
