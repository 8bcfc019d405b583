"""Children on an event loop."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.event_loop import async_process as children
from eqmail_core.event_loop.async_process import PipeReader, PipeWriter, kill, on_end
from eqmail_core.event_loop.child_slots import ChildSlots
from eqmail_core.queue.client.async_program import QueuePrograms
from eqmail_core.smtpd.policy.plugin_protocol import PluginOutputReader, PluginResult
from eqmail_core.smtpd.server.helper_process import plugin_report, start_plugin


@pytest.fixture
def loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    yield loop  # type: ignore[misc]
    loop.close()


def shell(command: str) -> int:
    return os.posix_spawn("/bin/sh", ["sh", "-c", command], os.environ)


def wait_for(loop: asyncio.AbstractEventLoop, begin: Callable[[Callable[..., None]], None]) -> tuple[object, ...]:
    """Begin something that calls back once, and wait for that."""
    future: asyncio.Future[tuple[object, ...]] = loop.create_future()
    begin(lambda *reported: future.set_result(reported))
    return loop.run_until_complete(asyncio.wait_for(future, 10))


@pytest.mark.parametrize(("command", "code"), [("exit 7", 7), ("kill -9 $$", -9), ("sleep 0.05", 0)])
def test_the_end_of_a_child_is_reported(loop: asyncio.AbstractEventLoop, command: str, code: int) -> None:
    assert wait_for(loop, lambda done: on_end(loop, shell(command), done)) == (code,)


def test_the_end_is_reported_without_process_descriptors_too(
    loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(pid: int) -> int:
        raise OSError

    monkeypatch.setattr(children.os, "pidfd_open", unknown)
    assert wait_for(loop, lambda done: on_end(loop, shell("exit 3"), done)) == (3,)


def test_a_child_can_be_killed_and_a_second_time_does_not_matter(loop: asyncio.AbstractEventLoop) -> None:
    pid = shell("sleep 100")
    kill(pid)
    assert wait_for(loop, lambda done: on_end(loop, pid, done)) == (-9,)
    kill(pid)


def test_output_is_read_to_its_end(loop: asyncio.AbstractEventLoop) -> None:
    reading, writing = os.pipe()
    received: list[bytes] = []
    future: asyncio.Future[None] = loop.create_future()

    def receive(data: bytes) -> bool:
        received.append(data)
        if not data:
            future.set_result(None)
        return True

    PipeReader(loop, reading, receive)
    os.write(writing, b"hello")
    os.close(writing)
    loop.run_until_complete(asyncio.wait_for(future, 60))
    assert b"".join(received) == b"hello"


def test_input_goes_as_the_child_takes_it(loop: asyncio.AbstractEventLoop) -> None:
    reading, writing = os.pipe()
    text = os.urandom(300000)
    writer = PipeWriter(loop, writing, lambda: None)
    writer.write(text[:100])
    writer.write(text[100:])
    writer.end()
    taken: list[bytes] = []
    future: asyncio.Future[None] = loop.create_future()

    def receive(data: bytes) -> bool:
        taken.append(data)
        if not data:
            future.set_result(None)
        return True

    PipeReader(loop, reading, receive)
    loop.run_until_complete(asyncio.wait_for(future, 60))
    assert b"".join(taken) == text
    assert writer.waiting == 0


def test_unread_input_is_a_broken_pipe(loop: asyncio.AbstractEventLoop) -> None:
    reading, writing = os.pipe()
    os.close(reading)

    def begin(done: Callable[..., None]) -> None:
        writer = PipeWriter(loop, writing, lambda: done(writer))
        writer.write(b"x")

    (writer,) = wait_for(loop, begin)
    assert isinstance(writer, PipeWriter)
    assert writer.broken
    writer.close()


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("cat >/dev/null; cat <&1 >/dev/null; exit 0", 0),
        ("exit 31", 31),
        ("exec <&-; exec >&-; exit 0", 54),
        ("kill -9 $$", -1),
    ],
)
def test_a_queue_program_is_judged_by_its_end(
    loop: asyncio.AbstractEventLoop, tmp_path: object, program: str, code: int
) -> None:
    path = f"{tmp_path}/program"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\n{program}\n")
    os.chmod(path, 0o755)
    queue = QueuePrograms(loop, path.encode(), lambda: os.environb, ChildSlots(1), b"ip")
    reported = wait_for(loop, lambda done: queue.submit(b"Fa\0Tb\0\0", b"x" * 300000, done))
    assert reported[0] == code


def test_a_missing_queue_program_is_reported(loop: asyncio.AbstractEventLoop) -> None:
    queue = QueuePrograms(loop, b"/nowhere", dict, ChildSlots(1), b"ip")
    assert wait_for(loop, lambda done: queue.submit(b"F\0\0", b"x", done))[0] == 120


def test_an_aborted_message_has_no_envelope(loop: asyncio.AbstractEventLoop, tmp_path: object) -> None:
    path = f"{tmp_path}/program"
    with open(path, "w") as file:
        file.write(f"#!/bin/sh\ncat >{tmp_path}/m; cat <&1 >{tmp_path}/e; mv {tmp_path}/e {tmp_path}/done\n")
    os.chmod(path, 0o755)
    programs = QueuePrograms(loop, path.encode(), lambda: os.environb, ChildSlots(1), b"ip")
    submission = programs.open_long(lambda *_: None, lambda: None)
    submission.write(b"half")
    submission.abort()

    async def wait() -> None:
        while not os.path.exists(f"{tmp_path}/done"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    loop.run_until_complete(asyncio.wait_for(wait(), 60))
    assert os.path.getsize(f"{tmp_path}/done") == 0


def test_output_after_the_final_instruction_is_no_error() -> None:
    receiving = PluginOutputReader()
    receiving.receive(b"N\n")
    assert not plugin_report(receiving, -13).problem
    assert plugin_report(PluginOutputReader(), -13).problem == b"child crashed"
    assert plugin_report(receiving, 120).problem == b"can't execute"
    assert not plugin_report(receiving, 1).problem


def test_a_missing_plugin_is_reported() -> None:
    report = start_plugin([b"/nowhere"], {})
    assert isinstance(report, PluginResult)
    assert report.problem == b"can't execute"


class Gate:
    """A queue program that takes a message, reports that, and ends on request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "program"
        self.path.write_text(
            f"#!/bin/sh\ncat >/dev/null; cat <&1 >/dev/null\n"
            f"touch {folder}/begun.$$; while ! test -e {folder}/go; do sleep 0.02; done\n"
        )
        self.path.chmod(0o755)

    @property
    def begun(self) -> int:
        return len(list(self.folder.glob("begun.*")))


def test_queue_programs_of_one_client_leave_room_for_others(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    gate, slots = Gate(tmp_path), ChildSlots(4, 2)
    codes: dict[bytes, list[int]] = {b"a": [], b"b": []}

    def client(address: bytes) -> QueuePrograms:
        return QueuePrograms(loop, str(gate.path).encode(), lambda: os.environb, slots, address)

    def run_until(condition: Callable[[], bool]) -> None:
        async def wait() -> None:
            while not condition():
                await asyncio.sleep(0.01)

        loop.run_until_complete(asyncio.wait_for(wait(), 30))

    for address in [b"a"] * 6 + [b"b"]:
        note = codes[address].append
        client(address).submit(b"Fa\0Tb\0\0", b"x" * 1000, lambda code, *_, note=note: note(code))
    ready: list[int] = []
    long = client(b"a").open_long(lambda code, *_: codes[b"a"].append(code), lambda: ready.append(1))
    assert long.write(b"x" * 1000) and not long.write(b"x" * 300_000), "it is asked to pause while it waits"
    dropped = client(b"a").open_long(lambda *_: pytest.fail("it was given up"), lambda: None)
    dropped.write(b"x")
    dropped.abort()
    run_until(lambda: gate.begun == 3)
    assert slots.waiting == 5 and not ready
    (tmp_path / "go").touch()
    run_until(lambda: bool(ready))
    long.commit(b"Fa\0Tb\0\0")
    run_until(lambda: len(codes[b"a"]) == 7 and len(codes[b"b"]) == 1)
    assert set(codes[b"a"] + codes[b"b"]) == {0} and gate.begun == 8 and slots.waiting == 0
