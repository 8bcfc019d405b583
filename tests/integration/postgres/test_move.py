"""Messages on their way from the queue directory to the database and back: nothing is lost, doubled or changed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from eqmail_core.mail.envelope import Envelope
from eqmail_core.queue.admin.transfer import TransferLog, survey_queue
from eqmail_core.queue.format.channels import HELD_UNTIL
from eqmail_core.queue.postgres.move_in import move_into_database
from eqmail_core.queue.postgres.move_out import NodesRunning, move_into_directory
from eqmail_core.queue.routing import Routes
from eqmail_core.site.site import Site
from tests.integration.postgres.conftest import Node
from tests.support.database import Cluster
from tests.unit.queue.test_admin_transfer import made, put

ROUTES = Routes(b"me.example", [b"b"], (), {b"virt.example": b"joe"})
Message = tuple[bytes, dict[str, tuple[bytes, int]]]

RUN = """
import sys
from tests.integration.postgres.test_move import move_in, move_out
from eqmail_core.site.site import Site
way, home, split, conninfo = sys.argv[1:]
site = Site(home=home, split=int(split), single_user=True)
(move_in if way == "in" else move_out)(site, conninfo)
"""


def move_in(site: Site, conninfo: str) -> int:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        messages = survey_queue(site).messages
        return move_into_database(messages, site.queue, ROUTES, connection, lambda count: None, fail)


def move_out(site: Site, conninfo: str) -> int:
    log = TransferLog(f"{site.home}/log")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        return move_into_directory(connection, site.queue, ROUTES, log, f"{site.home}/scratch", lambda count: None)


def fail(message: object, text: str) -> None:
    raise AssertionError(text)


def whole(site: Site) -> dict[bytes, Message]:
    """Body, and the other files with their times, of each message by sender."""
    found: dict[bytes, Message] = {}
    for message in survey_queue(site).messages:
        files = {
            name: (Path(path).read_bytes(), int(os.stat(path).st_mtime), os.stat(path).st_mode & 0o100)
            for name, path in message.files.items()
            if name not in ("mess", "intd")
        }
        sender = Path(message.files["info"]).read_bytes()
        assert sender not in found
        if "bounce" in files:
            files["bounce"] = (files["bounce"][0], 0, 0)
        found[sender] = (Path(message.files["mess"]).read_bytes(), files)  # type: ignore[assignment]
    return found


def some(site: Site, count: int, long: int = 0) -> None:
    """Messages of every shape, each with a sender of its own; `long`: bytes of the body of one."""
    for index in range(count):
        sender = b"Fs%d@x.example\0" % index
        shapes: list[dict[str, bytes]] = [
            {"info": sender, "local": b"Da@b\0Tc@b\0", "remote": b"Tr@far\0"},
            {"info": sender, "remote": b"Dr@far\0Ts@far\0", "bounce": b"<a@b>:\nno\n\n"},
            {"info": sender, "local": b"Tjoe-box@virt.example\0"},
            {"info": sender + b"W E:id r0:sf:\0", "remote": b"Tr@far\0"},
        ]
        number = put(
            site,
            b"Subject: %d\n\n%b\n" % (index, b"x" * (long if index == 3 else index)),
            1_000_000 + index,
            **shapes[index % len(shapes)],
        )
        if index % 5 == 1:
            os.chmod(site.queue.info(number), 0o700)
        if index % 8 == 2:
            os.utime(site.queue.channel("local", number), (HELD_UNTIL, HELD_UNTIL))


def test_a_message_is_the_same_after_both_ways(queue: Cluster, tmp_path: Path) -> None:
    site = made(tmp_path / "home")
    some(site, 12, long=3 << 20)
    before = whole(site)
    assert move_in(site, queue.conninfo) == 12 and whole(site) == {}
    assert queue.execute("select count(*), sum(chunks) from message") == [(12, 13)]
    assert queue.execute("select count(*) from message where is_held") == [(2,)]
    assert queue.execute("select count(*) from moved") == [(0,)]
    assert move_out(site, queue.conninfo) == 12 and whole(site) == before
    assert queue.execute("select count(*) from message union all select count(*) from chunk") == [(0,), (0,)]
    assert not os.path.exists(tmp_path / "home/scratch")


def test_the_database_has_what_the_sender_wrote(queue: Cluster, tmp_path: Path) -> None:
    site = made(tmp_path / "home")
    put(site, b"one\n", 1_000_000, info=b"Fs@x\0", local=b"Djoe-box@virt.example\0Ta@b\0", remote=b"Tr@far\0")
    put(site, b"two\n", 1_000_001, todo=b"u7\0p8\0Ft@x\0Tnew@b\0")
    move_in(site, queue.conninfo)
    (one, two) = queue.execute(
        "select envelope, done, due_local, due_remote, uid, qp, birth from message order by birth"
    )
    assert Envelope.parse(bytes(one[0])) == Envelope(b"s@x", [b"box@virt.example", b"a@b", b"r@far"])  # type: ignore[arg-type]
    assert one[1:] == (b"\1", 1_000_100, 1_000_200, 0, 0, 1_000_000)
    assert Envelope.parse(bytes(two[0])) == Envelope(b"t@x", [b"new@b"])  # type: ignore[arg-type]
    assert two[1:] == (b"", None, None, 7, 8, 1_000_001)


def test_a_long_envelope_becomes_messages_that_fit_a_packet(queue: Cluster, tmp_path: Path) -> None:
    site = made(tmp_path / "home")
    recipients = [b"r%d@%b.example" % (index, b"x" * 50) for index in range(3000)]
    put(site, b"one\n", 1_000_000, info=b"Fs@x\0", remote=b"".join(b"T%b\0" % it for it in recipients))
    move_in(site, queue.conninfo)
    rows = queue.execute("select envelope from message order by id")
    envelopes = [bytes(envelope) for (envelope,) in rows]  # type: ignore[call-overload]
    assert len(envelopes) == 4 and max(map(len, envelopes)) <= 65536
    assert [it for envelope in envelopes for it in Envelope.parse(envelope).recipients] == recipients


def test_a_running_node_keeps_its_database(queue: Cluster, node: Node, tmp_path: Path) -> None:
    site = made(tmp_path / "home")
    node("ann")
    with pytest.raises(NodesRunning, match="ann"):
        move_out(site, queue.conninfo)
    queue.execute("update node set lease_until = now()")
    assert move_out(site, queue.conninfo) == 0


@pytest.mark.slow
@pytest.mark.parametrize("way", ["in", "out"])
def test_a_move_that_is_killed_anywhere_goes_on_without_loss_or_double(
    way: str, queue: Cluster, tmp_path: Path
) -> None:
    site, count, dice = made(tmp_path / "home"), 150, random.Random(way)
    some(site, count)
    before = whole(site)
    if way == "out":
        move_in(site, queue.conninfo)
    command = [sys.executable, "-c", RUN, way, site.home, str(site.split), queue.conninfo]
    for _ in range(8):
        running = subprocess.Popen(command, cwd=Path(__file__).parents[3])
        # From the moment at which it has begun to work.
        began = _progress(queue, site)
        while running.poll() is None and _progress(queue, site) == began:
            time.sleep(0.001)
        time.sleep(dice.random() * 0.05)
        running.send_signal(signal.SIGKILL)
        assert running.wait() in (0, -signal.SIGKILL)
        envelopes = [bytes(row[0]) for row in queue.execute("select envelope from message")]  # type: ignore[call-overload]
        stored = {envelope.split(b"\0")[0] for envelope in envelopes}
        assert len(stored | {sender.split(b"\0")[0] for sender in whole(site)}) == count
    subprocess.run(command, cwd=Path(__file__).parents[3], check=True)
    if way == "in":
        assert whole(site) == {} and queue.execute("select count(*) from message") == [(count,)]
        move_out(site, queue.conninfo)
    assert whole(site) == before and queue.execute("select count(*) from message") == [(0,)]


def _progress(queue: Cluster, site: Site) -> object:
    return queue.execute("select count(*) from message"), len(os.listdir(site.queue.pid))
