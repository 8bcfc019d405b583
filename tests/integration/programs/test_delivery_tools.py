"""The programs for .qmail files and Maildirs as processes."""

import os
from pathlib import Path

import pytest

from tests.support.programs import Home

DELIVERY = {
    "SENDER": "send@er.x",
    "NEWSENDER": "new@sender.x",
    "DTLINE": "Delivered-To: joe@x\n",
    "RPLINE": "Return-Path: <send@er.x>\n",
    "UFLINE": "From send@er.x Thu Jan  1 00:00:00 1998\n",
    "LOCAL": "joe-ext",
    "HOST": "x.y",
}
MESSAGE = b"Subject: a\n\nbody\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_forward_queues_with_the_forwarding_sender(home: Home) -> None:
    run = home.run("forward", "a@b", "c@d", stdin=MESSAGE, **DELIVERY)
    assert run.returncode == 0 and run.stderr.startswith(b"forward: qp ")
    assert home.queued == (b"Fnew@sender.x\0Ta@b\0Tc@d\0\0", b"Delivered-To: joe@x\n" + MESSAGE)


def test_forward_needs_a_delivery(home: Home) -> None:
    run = home.run("forward", "a@b", stdin=MESSAGE, NEWSENDER="")
    assert (run.returncode, run.stderr) == (100, b"forward: fatal: DTLINE not set\n")


@pytest.mark.parametrize(
    ("code", "rc", "redirected"), [(0, 99, True), (1, 0, False), (100, 0, False), (111, 111, False)]
)
def test_condredirect_follows_the_exit_code_of_the_program(home: Home, code: int, rc: int, redirected: bool) -> None:
    (home.path / "mail").write_bytes(MESSAGE)
    with (home.path / "mail").open("rb") as mail:
        command = ("sh", "-c", f"cat >/dev/null; exit {code}")
        run = home.run("condredirect", "n@x", *command, stdin=mail.fileno(), **DELIVERY)
    assert run.returncode == rc
    assert (home.path / "envelope").exists() == redirected
    if redirected:
        assert home.queued == (b"Fsend@er.x\0Tn@x\0\0", b"Delivered-To: joe@x\n" + MESSAGE)


@pytest.mark.parametrize(("words", "rc"), [((), 100), (("true",), 100), (("false",), 0), (("/no/such",), 0)])
def test_bouncesaying_bounces_when_the_program_exits_0(home: Home, words: tuple[str, ...], rc: int) -> None:
    run = home.run("bouncesaying", "No\nthanks", *words)
    assert (run.returncode, run.stderr) == (rc, b"No\nthanks\n" if rc else b"")


@pytest.mark.parametrize(("command", "rc"), [("exit 0", 100), ("exit 1", 0), ("exit 111", 111), ("kill -9 $$", 111)])
def test_except_inverts_the_exit_code(home: Home, command: str, rc: int) -> None:
    assert home.run("except_", "sh", "-c", command).returncode == rc


def test_preline_puts_lines_before_the_message(home: Home) -> None:
    run = home.run("preline", "-fd", "-D", "cat", stdin=MESSAGE, **DELIVERY)
    assert run.stdout == (DELIVERY["RPLINE"] + DELIVERY["DTLINE"]).encode() + MESSAGE
    assert home.run("preline", "-z", "cat", **DELIVERY).stderr.endswith(b"usage: preline cmd [ arg ... ]\n")


@pytest.mark.parametrize("command", ["exit 5", "head -c 1 >/dev/null; exit 5"])
def test_a_command_need_not_read_the_message(home: Home, command: str) -> None:
    assert home.run("preline", "sh", "-c", command, stdin=b"x" * 500_000, **DELIVERY).returncode == 5


def test_a_command_gets_the_usual_broken_pipe(home: Home) -> None:
    """SIGPIPE ends the writer of a pipeline without a reader, as a shell expects."""
    run = home.run("preline", "sh", "-c", "yes | head -1; exit 0", stdin=MESSAGE, **DELIVERY)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"y\n", b"")


def test_a_command_that_is_not_there_is_a_permanent_failure(home: Home) -> None:
    run = home.run("preline", "/no/such", stdin=MESSAGE, **DELIVERY)
    assert (run.returncode, run.stderr) == (100, b"preline: fatal: unable to run /no/such: file does not exist\n")


def test_qsmhook_expands_its_arguments(home: Home) -> None:
    run = home.run(
        "qsmhook", "-nPx", "JOE-", "sh", "-c", 'echo "$@"; cat', "x", "%u@%h/%g%%%a.", stdin=MESSAGE, **DELIVERY
    )
    assert run.stdout == b"ext@x.y/send@er.x%.\n" + DELIVERY["RPLINE"].encode() + MESSAGE


def test_qreceipt_answers_the_sender(home: Home) -> None:
    asked = b"Notice-Requested-Upon-Delivery-To: joe@x\n" + MESSAGE
    assert home.run("qreceipt", "joe@x", stdin=asked, **DELIVERY).returncode == 0
    envelope, message = home.queued
    assert envelope == b"F\0Tsend@er.x\0\0" and b"following address: joe@x." in message


def test_maildirmake_makes_private_folders_once(home: Home) -> None:
    assert home.run("maildirmake", "md").returncode == 0
    made = home.path / "work/md"
    assert {path.name: path.stat().st_mode & 0o777 for path in (made, *made.iterdir())} == dict.fromkeys(
        ("md", "tmp", "new", "cur"), 0o700
    )
    again = home.run("maildirmake", "md")
    assert (again.returncode, again.stderr) == (111, b"maildirmake: fatal: unable to mkdir md: file already exists\n")


def test_readers_start_after_the_new_mail_is_there(home: Home) -> None:
    for path, text in (("bin/maildir2mbox", "echo moved; exit $MOVED"), ("work/elm", 'echo elm "$@"')):
        (home.path / path).write_text(f"#!/bin/sh\n{text}\n")
        (home.path / path).chmod(0o755)
    environ = {"PATH": f"{home.path}/work:{os.environ['PATH']}"}
    assert home.run("elq", "-x", **environ, MOVED="0").stdout == b"moved\nelm -x\n"
    failed = home.run("elq", "-x", **environ, MOVED="111")
    assert (failed.returncode, failed.stdout) == (111, b"moved\n")


@pytest.mark.parametrize(
    ("fragment", "report"),
    [
        (None, b"remote a|b c|\n"),
        ("# nothing yet", b"remote a|b c|\n"),
        ('np="$BINDIR/qmail-remote"; exec $np "$@"', b"remote a|b c|\n"),
        ("echo mine", b"mine\n"),
        ("cat >/dev/null; no-such-command", b"remote a|b c|\n"),
    ],
)
def test_bfrmt_falls_back_to_qmail_remote(home: Home, fragment: str | None, report: bytes) -> None:
    script = '#!/bin/sh\necho "remote $(printf "%s|" "$@")"; cat\n'
    for name, text in (("qmail-remote", script), ("splogger", f"#!/bin/sh\n(echo $1; cat) >{home.path}/log\n")):
        (home.path / "bin" / name).write_text(text)
        (home.path / "bin" / name).chmod(0o755)
    if fragment is not None:
        (home.path / "control/beforemote").write_text(fragment + "\n")
    (home.path / "mail").write_bytes(MESSAGE)
    with (home.path / "mail").open("rb") as mail:
        run = home.run("qmail_bfrmt", "a", "b c", stdin=mail.fileno())
    assert run.returncode == 0
    assert run.stdout == report + (MESSAGE if report.startswith(b"remote") else b"")
    assert (home.path / "log").exists() == bool(fragment and "no-such" in fragment)


def test_bfque_runs_the_program_of_the_first_line(home: Home) -> None:
    other = home.path / "work/other"
    other.write_text("#!/bin/sh\nexit 31\n")
    other.chmod(0o755)
    assert home.run("qmail_bfque").returncode == 0
    (home.path / "control/beforequeue").write_text(f"{other}\n")
    assert home.run("qmail_bfque").returncode == 31
    (home.path / "bin/qmail-queue").unlink()
    (home.path / "control/beforequeue").write_text("\n")
    assert home.run("qmail_bfque").returncode == 120
