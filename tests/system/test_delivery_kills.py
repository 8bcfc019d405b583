"""What delivers is killed in mid-delivery, again and again; each acknowledged message still reaches both recipients.

One recipient is local, the other behind a server that notes what it has accepted.  KILLS=50 in the environment kills
fifty times; -s prints the figures.
"""

import os
import random
import re
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, make_maildir, messages, until
from tests.system.test_kills import ME, Client

KILLS = int(os.environ.get("KILLS", "8"))
VICTIMS = ("qmail-local", "qmail-lspawn", "qmail-rspawn", "qmail-send")
NEW_INSTALLATION_EVERY = 10
"""A service that dies young is started again later and later, up to a minute; a new start resets that."""
AWAY = "box@away.test"


def _serve(client: socket.socket, marks: list[str]) -> None:
    """Accept messages, a moment each, and note the mark of each before its acknowledgement."""
    mark, in_data = "", False
    try:
        with client, client.makefile("rwb") as stream:
            stream.write(b"220 sink ESMTP\r\n")
            stream.flush()
            for line in stream:
                if in_data and line != b".\r\n":
                    mark = line.decode().strip()[8:] if line.startswith(b"X-Mark: ") else mark
                    continue
                if in_data:
                    time.sleep(0.005)
                    marks.append(mark)
                in_data = line[:4] == b"DATA"
                stream.write(b"354 go\r\n" if in_data else b"250 ok\r\n")
                stream.flush()
    except OSError:
        pass


def _accept(listener: socket.socket, marks: list[str]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(client, marks), daemon=True).start()


def _kill_one(mail_system: MailSystem, rng: random.Random, killed: Counter[str]) -> None:
    """Kill one of the victims that live now, each kind as often as the others."""
    living = [(pid, name) for pid, name in sorted(mail_system.services().items()) if name in VICTIMS]
    if not living:
        return
    kind = rng.choice(sorted({name for _, name in living}))
    try:
        os.kill(rng.choice([pid for pid, name in living if name == kind]), signal.SIGKILL)
    except ProcessLookupError:
        return
    killed[kind] += 1


@pytest.mark.slow
@pytest.mark.timeout(600 + 6 * KILLS)
def test_nothing_is_lost_on_its_way_out(private_home: Path, record_property: Callable[[str, object], None]) -> None:
    maildir = make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    relayed: list[str] = []
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sink:
        threading.Thread(target=_accept, args=(sink, relayed), daemon=True).start()
        (private_home / "control/rcpthosts").write_text(f"{ME}\naway.test\n")
        (private_home / "control/remoteworkers").write_text("2\n")
        (private_home / "control/smtproutes").write_text(f"away.test:127.0.0.1:{sink.getsockname()[1]}\n")
        mail_system = MailSystem(private_home)
        clients = [Client(mail_system, f"d{number}", (f"box@{ME}", AWAY)) for number in range(2)]
        for client in clients:
            client.start()
        rng = random.Random(20261123)
        killed: Counter[str] = Counter()
        while sum(killed.values()) < KILLS:
            time.sleep(rng.uniform(0.1, 0.5))
            _kill_one(mail_system, rng, killed)
            if sum(killed.values()) % NEW_INSTALLATION_EVERY == 0:
                mail_system.stop()
                mail_system.start()
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join(60)
        acknowledged = {mark for client in clients for mark in client.acknowledged}

        def filed() -> Counter[str]:
            found = (re.findall(r"^X-Mark: (\S+)$", text, re.M) for text in messages(maildir))
            return Counter(mark for marks in found for mark in marks)

        def missing() -> tuple[int, int]:
            return len(acknowledged - set(filed())), len(acknowledged - set(relayed))

        def none_missing_after_a_nudge() -> bool:
            """What a kill deferred would wait for minutes: ALRM has it tried now."""
            assert mail_system.process is not None
            mail_system.process.send_signal(signal.SIGALRM)
            time.sleep(1)
            return missing() == (0, 0)

        try:
            until(none_missing_after_a_nudge, "every acknowledged message", 60 + 2 * KILLS)
        except AssertionError:
            lost = missing()
            mail_system.kill()
            raise AssertionError(f"{lost} of {len(acknowledged)} lost\n{mail_system.log()[-3000:]}") from None
        mail_system.stop()
    assert all(text.endswith("y\n") for text in messages(maildir))
    extra = [sum(counts.values()) - len(counts) for counts in (filed(), Counter(relayed))]
    report = f"{sum(killed.values())} kills {dict(killed)}: {len(acknowledged)} acknowledged, 0 lost, "
    report += f"{extra[0]} extra copies filed, {extra[1]} relayed"
    record_property("kills", report)
    print(report)


def test_a_stop_waits_for_no_service_that_is_dead(private_home: Path) -> None:
    """The scheduler has orders in the backlog of a service that is not started again: they are put off."""
    (private_home / "control/locals").write_text("nowhere.test\n")
    mail_system = MailSystem(private_home)
    for _ in range(5):
        until(lambda: "qmail-rspawn" in mail_system.services().values(), "a remote service")
        (pid,) = (pid for pid, name in mail_system.services().items() if name == "qmail-rspawn")
        os.kill(pid, signal.SIGKILL)
        until(lambda gone=pid: gone not in mail_system.services(), "its end")  # type: ignore[misc]
    # now it is away for some seconds
    mail_system.send([f"box@{ME}"], "Subject: x\n\n")
    until(lambda: "starting delivery 1:" in mail_system.log(), "an order")
    mail_system.stop()
    assert "deferral: Lost_the_connection_to_the_delivery_service" in mail_system.log()
