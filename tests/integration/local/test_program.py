"""Programs in .qmail files: what their end means, what they inherit, and what happens when they take too long."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eqmail_core.local.delivery.program import run_program
from eqmail_core.outcome import Failure, PermanentFailure, TemporaryFailure
from eqmail_core.site.site import Site
from eqmail_core.system.message_file import MessageFile

Run = Callable[..., bool]


def is_running(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    status = Path(f"/proc/{pid}/status")
    try:
        return "State:\tZ" not in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Run a command with the message "one two" on descriptor 0, in an empty folder; `limit` is in control/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "control").mkdir()
    (tmp_path / "message").write_text("one\ntwo\n")
    saved = os.dup(0)
    fd = os.open("message", os.O_RDONLY)
    os.dup2(fd, 0)

    def act(command: str, limit: str = "", **environ: str) -> bool:
        if limit:
            (tmp_path / "control/programseconds").write_text(limit + "\n")
        variables = {b"PATH": b"/usr/bin:/bin"} | {os.fsencode(k): os.fsencode(v) for k, v in environ.items()}
        return run_program(Site(home=str(tmp_path)), os.fsencode(command), variables, MessageFile(0))

    yield act
    os.dup2(saved, 0)
    os.close(saved)
    os.close(fd)


@pytest.mark.parametrize(("code", "stops"), [(0, False), (99, True)])
def test_exit_code_0_is_success(run: Run, code: int, stops: bool) -> None:
    assert run(f"exit {code}") is stops


def test_no_signal_is_ignored(run: Run, tmp_path: Path) -> None:
    """Python ignores SIGPIPE and SIGXFSZ; a shell could not take them back."""
    run("grep SigIgn /proc/self/status >ignored")
    ignored = int((tmp_path / "ignored").read_text().split()[1], 16)
    assert not ignored & (1 << 13 - 1 | 1 << 25 - 1)


@pytest.mark.parametrize("code", [100, 64, 65, 70, 76, 77, 78, 112])
def test_exit_code_100_is_permanent(run: Run, code: int) -> None:
    with pytest.raises(PermanentFailure) as raised:
        run(f"exit {code}")
    assert raised.value.text == b""


@pytest.mark.parametrize("code", [111, 1, 66, 67, 68, 69, 71, 72, 73, 74, 75, 79, 98, 101, 120, 126, 127, 255])
def test_exit_code_111_is_temporary(run: Run, code: int) -> None:
    with pytest.raises(TemporaryFailure) as raised:
        run(f"exit {code}")
    assert raised.value.text == b""


def test_a_crash_is_reported(run: Run) -> None:
    with pytest.raises(TemporaryFailure, match=r"Aack, child crashed. \(#4.3.0\)"):
        run("kill -9 $$")


def test_each_program_reads_the_message_from_its_beginning(run: Run) -> None:
    for name in ("a", "b"):
        run(f"head -n 1 >{name}; cat >>{name}")
        assert Path(name).read_text() == "one\ntwo\n"


def test_no_descriptor_is_inherited_but_the_three(run: Run, tmp_path: Path) -> None:
    """Whatever is open here: files, sockets, pipes."""
    opened = [os.open("message", os.O_RDONLY), *os.pipe(), os.memfd_create("x")]
    os.set_inheritable(opened[0], True)
    run("ls /proc/self/fd >fds")
    for fd in opened:
        os.close(fd)
    assert min(opened) > 3, "3 is that of ls"
    assert Path("fds").read_text().split() == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("limit", "environ"), [("1", {}), ("0", {"PROGRAMSECONDS": "1"})])
def test_a_program_beyond_its_time_is_ended_with_all_that_it_started(
    run: Run, limit: str, environ: dict[str, str]
) -> None:
    with pytest.raises(TemporaryFailure, match=r"Program took longer than 1 seconds and was ended. \(#4.3.0\)"):
        run(
            "trap '' TERM; sleep 60 & echo $! >child; sleep 60 & echo $$ >parent; wait; wait; sleep 60",
            limit,
            **environ,
        )
    for name in ("parent", "child"):
        pid = int(Path(name).read_text())
        while is_running(pid):  # killed, and not yet gone: the kernel takes its time on a busy machine
            time.sleep(0.01)


@pytest.mark.parametrize("command", ["exit 0", "sleep 0.1; exit 0"])
def test_a_program_within_its_time_is_as_without_a_limit(run: Run, command: str) -> None:
    assert run(command, "60") is False
    with pytest.raises(PermanentFailure):
        run(command.replace("0", "100") if command == "exit 0" else "sleep 0.1; exit 100", "60")


def test_an_invalid_setting_is_no_limit(run: Run) -> None:
    assert run("exit 0", "soon") is False


def test_a_setting_that_cannot_be_read_leaves_the_mail_waiting(run: Run, tmp_path: Path) -> None:
    (tmp_path / "control/programseconds").mkdir()
    with pytest.raises(Failure, match="Unable to read control files") as raised:
        run("echo done >done")
    assert isinstance(raised.value, TemporaryFailure) and not Path("done").exists()
