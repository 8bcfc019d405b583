"""Both drivers of the SMTP server, in a thread each, with a queue that remembers."""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.access.networks import NetworkSet
from eqmail_core.auth.scram_secrets import ScramSecrets
from eqmail_core.auth.secrets_file import FILE as SECRETS
from eqmail_core.control.controls import Controls
from eqmail_core.filters.chain import read_filters
from eqmail_core.queue.client.async_service import Done
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.server.async_session import AsyncSmtpSession
from eqmail_core.smtpd.server.blocking_session import BlockingSmtpSession
from eqmail_core.smtpd.server.config import ServerConfig
from eqmail_core.smtpd.server.config_reader import read_policy_config, read_tls
from eqmail_core.smtpd.server.context import ServerContext
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_core.system.timed_stream import TimedStream
from eqmail_core.text.listen_address import ListenerRole
from eqmail_core.tls.server import ServerTlsContexts

_RECORDER = """#!/bin/sh
n=$(ls "{0}" | wc -l)
cat >"{0}/$n.message"; cat <&1 >"{0}/$n.envelope"
"""
_CHECKER = """#!/bin/sh
tr '\\0' ' ' <&3 | grep -q '^joe good ' && exec "$@"
exit 1
"""


class Home:
    """A home with control files, a password checker, and a program that takes mail and keeps it."""

    def __init__(self, path: Path, **controls: str) -> None:
        self.site = Site(home=str(path), single_user=True)
        self.got = path / "got"
        for folder in ("bin", "control", "got", "run"):
            (path / folder).mkdir(parents=True)
        for name, program in (("qmail-queue", _RECORDER.format(self.got)), ("checker", _CHECKER)):
            (path / "bin" / name).write_text(program)
            (path / "bin" / name).chmod(0o755)
        self.write("me", "mx.test\n")
        self.write("rcpthosts", "ours.test\n")
        for name, text in controls.items():
            self.write(name, text)

    def write(self, name: str, text: str) -> None:
        """Set a control file."""
        (Path(self.site.control) / name).write_text(text)

    def controls(self) -> Controls:
        """The settings as they are now."""
        return read_controls(self.site)

    def queued(self) -> list[tuple[bytes, bytes]]:
        """Envelope and message of everything that the program took, in order."""
        found = []
        for number in range(len(list(self.got.glob("*.envelope")))):
            message = (self.got / f"{2 * number}.message").read_bytes()
            found.append(((self.got / f"{2 * number}.envelope").read_bytes(), message))
        return found


class MemoryQueue:
    """Takes the place of the link to the queue service; answers `code`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, code: int = 0) -> None:
        self.loop = loop
        self.code = code
        self.messages: list[tuple[bytes, bytes]] = []
        self.is_slow = False
        self.pieces: list[int] = []
        self.resume: Callable[[], None] = lambda: None
        self.aborted = 0

    def submit(self, envelope: bytes, message: bytes, done: Done) -> None:
        """Take a message."""
        self.messages.append((envelope, message))
        self.loop.call_soon(done, self.code, 1, int(time.time()), 42)

    def open_long(self, done: Done, on_ready: Callable[[], None]) -> "MemoryLong":
        """Take a long message."""
        self.resume = on_ready
        return MemoryLong(self, done)


class MemoryLong:
    """A long message on its way into a `MemoryQueue`."""

    def __init__(self, queue: MemoryQueue, done: Done) -> None:
        self.queue = queue
        self.done = done
        self.text = b""

    def write(self, chunk: bytes) -> bool:
        """Take a piece; False while the queue is slow."""
        self.queue.pieces.append(len(chunk))
        self.text += chunk
        return not self.queue.is_slow

    def commit(self, envelope: bytes) -> None:
        """Take the envelope."""
        self.queue.submit(envelope, self.text, self.done)

    def abort(self) -> None:
        """Forget it."""
        self.queue.aborted += 1


async def _end_connections(loop: asyncio.AbstractEventLoop) -> None:
    """Close what is left of connections that were being accepted, or not let in, when the server was closed."""
    others = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for transport in list(loop._transports.values()):  # type: ignore[attr-defined]
        transport.abort()
    for _ in range(3):
        await asyncio.sleep(0)


class Resident:
    """An event loop with SMTP sessions on a port of its own, in a thread."""

    def __init__(self, home: Home, limit: int = 10, code: int = 0, timeout_s: int = 30, **environ: str) -> None:
        self.home = home
        controls = home.controls()
        self.checker = (controls.smtpcheckpw or b"").split()
        variables = {b"PATH": os.environb[b"PATH"]} | {os.fsencode(k): os.fsencode(v) for k, v in environ.items()}
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.complaints: list[bytes] = []
        files = read_tls(home.site, controls, self.complaints.append)
        tls = ServerTlsContexts(files, self.complaints.append) if files else None
        policy_config = read_policy_config(
            home.site, controls, variables, morercpthosts_lookup(home.site), self.checker, b"25", tls is not None
        )
        relays = NetworkSet(controls.relayclients)
        filters = read_filters(controls, self.complaints.append)
        self.settings = ServerConfig(
            {self.port: policy_config},
            b"mx.test",
            variables,
            relays,
            self.checker,
            limit,
            timeout_s,
            tls,
            filters=filters,
        )
        self.settings.find_scram_keys = ScramSecrets(f"{home.site.users}/{SECRETS}", read_file).find
        self.begins_with_tls = "SMTPS" in environ
        self.loop = asyncio.new_event_loop()
        self.queue = MemoryQueue(self.loop, code)
        self.context = ServerContext(self.loop, self.settings, self.queue)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Resident":
        self._cwd = os.getcwd()
        os.chdir(self.home.site.home)
        self.server = self.loop.run_until_complete(
            self.loop.create_server(
                lambda: AsyncSmtpSession(self.context, ListenerRole(self.begins_with_tls, False)), sock=self.listener
            )
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.call(self.server.close)
        deadline = time.monotonic() + 60
        while self.context.sessions and time.monotonic() < deadline:
            for session in list(self.context.sessions):
                self.call(session._transport.abort)
            time.sleep(0.01)
        self.call(self.context.write_log)
        self.call(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(_end_connections(self.loop))
        self.loop.close()
        os.chdir(self._cwd)

    def call(self, function: Callable[[], object]) -> None:
        """Run something on the loop, and wait until it has run."""
        done = threading.Event()
        self.loop.call_soon_threadsafe(lambda: (function(), done.set()))
        assert done.wait(60)

    def connect(self) -> socket.socket:
        """A client."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def queued(self) -> list[tuple[bytes, bytes]]:
        """Envelope and message of everything that went to the queue."""
        return self.queue.messages

    def _run(self) -> None:
        self.loop.run_forever()


@contextmanager
def blocking_server(home: Home, timeout_s: int = 10, **environ: str) -> Iterator[tuple[socket.socket, list[int]]]:
    """A client's socket to a conversation that runs in a thread, and its exit code when it has ended."""
    controls = home.controls()
    checker = (controls.smtpcheckpw or b"").split()
    variables = {b"PATH": os.environb[b"PATH"], b"TCPREMOTEIP": b"127.0.0.1"}
    variables |= {os.fsencode(key): os.fsencode(value) for key, value in environ.items()}
    tls = read_tls(home.site, controls, lambda what: None)
    policy_config = read_policy_config(
        home.site, controls, variables, morercpthosts_lookup(home.site), checker, b"25", tls is not None
    )
    filters = read_filters(controls, lambda what: None)
    ours, theirs = socket.socketpair()
    ours.settimeout(60)
    conversation = BlockingSmtpSession(
        home.site,
        policy_config,
        ClientAuthority(variables, policy_config.delays),
        TimedStream(timeout_s, theirs.fileno(), theirs.fileno()),
        checker,
        tls,
        "SMTPS" in environ,
        controls.smtpidle,
        filters,
    )
    codes: list[int] = []

    def work() -> None:
        codes.append(conversation.run())
        theirs.close()

    cwd = os.getcwd()
    os.chdir(home.site.home)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield ours, codes
    finally:
        ours.close()
        thread.join(60)
        os.chdir(cwd)
