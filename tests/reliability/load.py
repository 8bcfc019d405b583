"""Clients that submit mail in every way there is, and note what was acknowledged."""

import os
import random
import smtplib
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.reliability.messages import make

ACKNOWLEDGED, REFUSED, UNKNOWN = "acknowledged", "refused", "unknown"
ME = "mail.example.org"
REMOTE = "sink.example.net"
USER = "joe"
SENDER = f"{USER}-bounces@{ME}"
NOBODY = f"{USER}-nobody@{ME}"
"""An address that does not exist: mail for it bounces."""

PROGRAM_TIMEOUT_S = 120
END_S = 4 * PROGRAM_TIMEOUT_S
"""How long a message may take in all: each of its steps has a time-out."""

REMOTE_DOMAINS = 5
LOOPBACK = "127.0.0.1"

# Local recipients, and how often one of them is taken; the rest goes to the sink.
LOCAL = {
    f"{USER}@{ME}": 40,
    f"{USER}-two@{ME}": 10,
    f"{USER}-prog@{ME}": 7,
    f"{USER}-fwd@{ME}": 6,
    NOBODY: 5,
    f"{USER}-mbox@{ME}": 4,
}
SEVERAL, TO_SINK = 4, 24


class Sent(NamedTuple):
    """A submitted message: the reply to the client, and its time (time.monotonic)."""

    identifier: str
    recipients: tuple[str, ...]
    verdict: str
    time: float


def remote(identifier: str, place: int = 0) -> str:
    """An address at the sink that names the one message that may arrive there."""
    return f"r{place}-{identifier}@d{hash_of(identifier) % REMOTE_DOMAINS}.{REMOTE}"


def hash_of(identifier: str) -> int:
    """A small number that is the same in every run."""
    return sum(identifier.encode())


def choose_recipients(identifier: str, rng: random.Random) -> tuple[str, ...]:
    """One recipient, or sometimes several of different kinds."""
    kind = rng.choices([*LOCAL, "several", "sink"], [*LOCAL.values(), SEVERAL, TO_SINK])[0]
    if kind == "several":
        return f"{USER}@{ME}", remote(identifier), f"{USER}-two@{ME}", NOBODY, remote(identifier, 1)
    return (remote(identifier),) if kind == "sink" else (kind,)


def choose_size(rng: random.Random) -> int:
    """Most messages are small; some are about as long as a packet of the queue's wire, some longer."""
    low, high = rng.choices([(50, 5_000), (64_000, 67_000), (60_000, 200_000)], [95, 2, 3])[0]
    return rng.randrange(low, high)


class Client(threading.Thread):
    """Submits messages in one way until stopped; `sent` grows."""

    def __init__(
        self, home: Path, port: int, name: str, way: str, seed: int, pause_s: float = 0.04, address: str = LOOPBACK
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.sent: list[Sent] = []
        self.recipients: Callable[[str, random.Random], tuple[str, ...]] = choose_recipients
        self._home = home
        self._port = port
        self._address = address
        self._submit = SEND_METHODS[way]
        self._rng = random.Random(f"{seed} {name}")
        self._pause_s = pause_s
        self._stopping = threading.Event()
        self._connection: smtplib.SMTP | None = None

    def run(self) -> None:
        """Submit, record the reply, pause; reconnect after a failure."""
        count = 0
        while not self._stopping.is_set():
            count += 1
            identifier = f"{self.name}.{count}"
            text = make(identifier, choose_size(self._rng), self._rng)
            recipients = self.recipients(identifier, self._rng)
            verdict = self._submit(self, recipients, text)
            self.sent.append(Sent(identifier, recipients, verdict, time.monotonic()))
            self._stopping.wait(self._rng.random() * 2 * self._pause_s if verdict == ACKNOWLEDGED else 0.05)
        self._hang_up()

    def stop(self) -> None:
        """End after the message in hand."""
        self._stopping.set()

    def over_kept_session(self, recipients: tuple[str, ...], text: str) -> str:
        """SMTP, one session for all messages."""
        said_all = False
        try:
            if self._connection is None:
                self._connection = smtplib.SMTP(self._address, self._port, "load.example.net", timeout=60)
                self._connection.ehlo()
            for code, _ in (self._connection.mail(SENDER), *map(self._connection.rcpt, recipients)):
                if code != 250:
                    self._hang_up()
                    return REFUSED
            said_all = True
            code, _ = self._connection.data(text)
        except (OSError, smtplib.SMTPException, ValueError) as error:
            self._hang_up()
            return REFUSED if isinstance(error, smtplib.SMTPDataError) or not said_all else UNKNOWN
        if code != 250:
            self._hang_up()
        return ACKNOWLEDGED if code == 250 else REFUSED

    def over_session_each(self, recipients: tuple[str, ...], text: str) -> str:
        """SMTP, a session for each message."""
        verdict = self.over_kept_session(recipients, text)
        self._hang_up(politely=verdict == ACKNOWLEDGED)
        return verdict

    def by_inject(self, recipients: tuple[str, ...], text: str) -> str:
        """bin/qmail-inject."""
        command = [str(self._home / "bin/qmail-inject"), "-a", "-f", SENDER, *recipients]
        environ = {"PATH": "/usr/bin:/bin"}
        try:
            done = subprocess.run(
                command, input=text.encode(), capture_output=True, timeout=PROGRAM_TIMEOUT_S, env=environ, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN
        return REFUSED if done.returncode else ACKNOWLEDGED

    def by_queue(self, recipients: tuple[str, ...], text: str) -> str:
        """bin/qmail-queue: the message on descriptor 0, the envelope on descriptor 1."""
        envelope = f"F{SENDER}\0" + "".join(f"T{recipient}\0" for recipient in recipients) + "\0"
        reading, writing = os.pipe()
        os.write(writing, envelope.encode())
        os.close(writing)
        try:
            done = subprocess.run(
                [self._home / "bin/qmail-queue"],
                input=text.encode(),
                stdout=reading,
                stderr=subprocess.DEVNULL,
                timeout=PROGRAM_TIMEOUT_S,
                env={},
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return UNKNOWN
        finally:
            os.close(reading)
        return REFUSED if done.returncode else ACKNOWLEDGED

    def _hang_up(self, politely: bool = False) -> None:
        if self._connection is not None:
            try:
                if politely:
                    self._connection.quit()
            except (OSError, smtplib.SMTPException):
                pass
            self._connection.close()
            self._connection = None


SEND_METHODS: dict[str, Callable[[Client, tuple[str, ...], str], str]] = {
    "kept": Client.over_kept_session,
    "each": Client.over_session_each,
    "inject": Client.by_inject,
    "queue": Client.by_queue,
}


class Load:
    """Several clients at once, as a context: they have all stopped when it ends."""

    def __init__(
        self,
        home: Path,
        port: int,
        seed: int,
        tag: str = "m",
        ways: tuple[str, ...] = ("kept", "kept", "each", "inject", "queue"),
        pause_s: float = 0.04,
        address: str = LOOPBACK,
    ) -> None:
        """`tag` begins the identifiers, which must differ between the loads of one installation."""
        self.clients = [
            Client(home, port, f"{tag}{number}{way}", way, seed, pause_s, address) for number, way in enumerate(ways)
        ]

    @property
    def sent(self) -> list[Sent]:
        """All that was offered until now."""
        return [sent for client in self.clients for sent in client.sent]

    def __enter__(self) -> "Load":
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        for client in self.clients:
            client.stop()
        deadline = time.monotonic() + END_S
        for client in self.clients:
            client.join(max(0.0, deadline - time.monotonic()))
        late = [client.name for client in self.clients if client.is_alive()]
        if late:
            raise TimeoutError(f"told to stop {END_S:g} s ago, and not done with one message: {', '.join(late)}")
