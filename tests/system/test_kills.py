"""Services killed at random moments under load: every acknowledged message arrives; duplicates are counted.

Each message has a recipient who is deferred until the kills are over, so that messages are spilled and are on the disk.
"""

import os
import random
import re
import signal
import smtplib
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.queue.format.tree import BEING_WRITTEN, ENVELOPE_BEING_WRITTEN, classify
from tests.support.mail_system import MailSystem, make_maildir, messages, until

KILLS = 56
ALL_AT_ONCE_EVERY = 8
ME = "mail.example.org"


class Client(threading.Thread):
    """Sends numbered messages until stopped; remembers which were acknowledged."""

    def __init__(self, mail_system: MailSystem, name: str, recipients: tuple[str, ...] = (f"box@{ME}",)) -> None:
        super().__init__(name=name, daemon=True)
        self.mail_system = mail_system
        self.recipients = recipients
        self.stopping = threading.Event()
        self.acknowledged: list[str] = []
        self.sent = 0

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                with smtplib.SMTP("127.0.0.1", self.mail_system.port, "load.example.net", timeout=60) as client:
                    while not self.stopping.is_set():
                        self.sent += 1
                        mark = f"{self.name}-{self.sent}"
                        # sometimes a message that is too long for one packet, so that both paths are used
                        body = "y" * 70 + "\r\n"
                        text = f"Subject: load\r\nX-Mark: {mark}\r\n\r\n" + body * (2000 if self.sent % 29 == 0 else 40)
                        client.sendmail("load@example.net", self.recipients, text)
                        self.acknowledged.append(mark)
                        time.sleep(0.002)
            except (OSError, smtplib.SMTPException):
                time.sleep(0.05)


def left_over(queue: Path) -> list[str]:
    """Files of messages in a queue that should be empty, except those of submissions that were never answered.

    A service killed while it wrote a message leaves mess/N, or mess/N and intd/N, which are swept after 36 hours.
    """
    found: dict[str, set[str]] = defaultdict(set)
    for name in ("mess", "info", "local", "remote", "bounce", "todo", "intd"):
        for path in (queue / name).rglob("*"):
            if path.is_file():
                found[path.name].add(name)
    allowed = (BEING_WRITTEN, ENVELOPE_BEING_WRITTEN)
    return sorted(
        f"{number}: {sorted(folders)}" for number, folders in found.items() if classify(folders) not in allowed
    )


@pytest.mark.slow
def test_nothing_acknowledged_is_lost(private_home: Path, record_property: Callable[[str, object], None]) -> None:
    alias = private_home / "alias"
    maildir = make_maildir(alias / "Maildir")
    (alias / ".qmail-box").write_text("./Maildir/\n")
    (alias / ".qmail-postmaster").write_text("./Maildir/\n")
    later, is_open = make_maildir(alias / "Later"), alias / "open"
    (alias / ".qmail-later").write_text(f"|test -e {is_open} || exit 111\n./Later/\n")
    mail_system = MailSystem(private_home)
    clients = [Client(mail_system, f"c{number}", (f"box@{ME}", f"later@{ME}")) for number in range(4)]
    for client in clients:
        client.start()
    rng = random.Random(20261123)
    killed: Counter[str] = Counter()
    for count in range(1, KILLS + 1):
        time.sleep(rng.uniform(0.1, 0.7))
        if count % ALL_AT_ONCE_EVERY == 0:
            mail_system.kill()
            killed["everything"] += 1
            mail_system.start()
            continue
        below = mail_system.services()
        if below:
            name = rng.choice(sorted(set(below.values())))
            pid = rng.choice(sorted(pid for pid, its in below.items() if its == name))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed[name] += 1
    for client in clients:
        client.stopping.set()
    for client in clients:
        client.join(60)
    is_open.touch()
    acknowledged = {mark for client in clients for mark in client.acknowledged}

    def arrived(where: Path) -> Counter[str]:
        found: Counter[str] = Counter()
        for text in messages(where):
            found.update(re.findall(r"^X-Mark: (\S+)$", text, re.M))
        return found

    def missing() -> set[str]:
        return (acknowledged - set(arrived(maildir))) | (acknowledged - set(arrived(later)))

    def none_missing_after_a_nudge() -> bool:
        """Deferred messages would wait for minutes: ALRM has them tried now."""
        assert mail_system.process is not None
        mail_system.process.send_signal(signal.SIGALRM)
        time.sleep(1)
        return not missing()

    try:
        until(none_missing_after_a_nudge, "every acknowledged message", 240)
        until(lambda: not left_over(private_home / "queue"), "an empty queue", 60)
    except AssertionError:
        lost, left = sorted(missing()), left_over(private_home / "queue")
        mail_system.kill()
        raise AssertionError(
            f"{len(lost)} of {len(acknowledged)} lost: {lost[:10]}; left: {left}\n{mail_system.log()[-3000:]}"
        ) from None
    mail_system.stop()
    torn = [text for where in (maildir, later) for text in messages(where) if not text.endswith("y\n")]
    assert not torn
    assert not left_over(private_home / "queue")
    assert " is younger than " not in mail_system.log()
    twice = sum(count - 1 for where in (maildir, later) for count in arrived(where).values())
    report = (
        f"{sum(killed.values())} kills {dict(killed)}: {len(acknowledged)} acknowledged, 0 lost, {twice} extra copies"
    )
    record_property("kills", report)
    print(report)
    assert sum(killed.values()) >= 50


@pytest.mark.slow
def test_a_crash_right_after_a_spill_delivers_once(private_home: Path) -> None:
    """The journal has the messages still, and the files have them already: they are the same ones."""
    alias, queue = private_home / "alias", private_home / "queue"
    is_open, copies = alias / "open", alias / "copies"
    # A program has no file name by which a second copy would replace the first.
    (alias / ".qmail-later").write_text(f"|test -e {is_open} || exit 111; cat >>{copies}\n")
    mail_system = MailSystem(private_home)

    def placed() -> list[Path]:
        return [path for path in (queue / "info").rglob("*") if path.name.isdigit()]

    for round_ in range(3):
        before = len(placed())
        for count in range(5):
            mail_system.send([f"later@{ME}"], f"Subject: x\n\nX-Mark: {round_}-{count}\n")
        until(lambda before=before: len(placed()) == before + 5, "the messages on the disk")  # type: ignore[misc]
        mail_system.kill()
        mail_system.start()
    is_open.touch()

    def is_empty_after_a_nudge() -> bool:
        assert mail_system.process is not None
        mail_system.process.send_signal(signal.SIGALRM)
        time.sleep(0.5)
        return not left_over(queue)

    until(is_empty_after_a_nudge, "an empty queue", 120)
    mail_system.stop()
    counts = Counter(re.findall(r"^X-Mark: (\S+)$", copies.read_text(), re.M))
    assert counts == {f"{round_}-{count}": 1 for round_ in range(3) for count in range(5)}
    assert not [path for path in (queue / "mess").rglob("*") if path.is_file()]
