"""qmail-inject, sendmail, mailsubj and datemail as processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs import ROOT, Home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_a_message_is_completed_and_queued(home: Home) -> None:
    run = home.run("qmail_inject", stdin=b"To: a, b@c\n\nbody", USER="joe")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    envelope, message = home.queued
    assert envelope == b"Fjoe@mail.example.org\0Tb@c.mail.example.org\0Ta@mail.example.org\0\0"
    assert message.endswith(b"From: joe@mail.example.org\nTo: a@mail.example.org, b@c.mail.example.org\n\nbody\n")


def test_printing_queues_nothing(home: Home) -> None:
    run = home.run("qmail_inject", "-n", "-f", "", "x", stdin=b"\n")
    assert run.stdout.startswith(b"Return-Path: <>\nDate: ")
    assert not (home.path / "envelope").exists()


@pytest.mark.parametrize(
    ("code", "rc", "text"),
    [
        (31, 100, b"mail server permanently rejected message (#5.3.0)"),
        (53, 111, b"qq write error or disk full (#4.3.0)"),
    ],
)
def test_the_exit_code_of_qmail_queue_decides(home: Home, code: int, rc: int, text: bytes) -> None:
    home.records(code)
    run = home.run("qmail_inject", stdin=b"To: a\n")
    assert (run.returncode, run.stderr) == (rc, b"qmail-inject: fatal: " + text + b"\n")


@pytest.mark.parametrize(
    ("words", "stdin", "text"),
    [
        (("-z",), b"", b"qmail-inject: illegal option -- z\n"),
        ((), b"To: (x\n", b"qmail-inject: fatal: unable to parse this line:\nTo: (x\n"),
        (("a@(",), b"", b"qmail-inject: fatal: unable to parse address: a@(\n"),
    ],
)
def test_bad_input_is_refused_with_an_error_message(
    home: Home, words: tuple[str, ...], stdin: bytes, text: bytes
) -> None:
    run = home.run("qmail_inject", *words, stdin=stdin)
    assert (run.returncode, run.stderr) == (100, text)
    assert not (home.path / "envelope").exists()


def test_an_unreadable_setting_is_a_temporary_failure(home: Home) -> None:
    (home.path / "control/defaulthost").mkdir()
    run = home.run("qmail_inject", stdin=b"To: a\n")
    assert (run.returncode, run.stderr) == (111, b"qmail-inject: fatal: read error\n")


def test_a_large_body_needs_no_memory(home: Home, tmp_path: Path) -> None:
    """Forty megabytes pass through a process that never holds more than the interpreter and a few pieces."""
    big = tmp_path / "big"
    with big.open("wb") as file:
        file.write(b"To: a\n\n")
        for _ in range(640):
            file.write(b"x" * 65536)
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from eqmail_core.programs.qmail_inject import main\n"
        f"code = main([b'x'], {{b'EQMAIL_HOME': {bytes(home.path)!r}}})\n"
        "print(code, open('/proc/self/status').read().partition('VmHWM:')[2].split()[0])"
    )
    with big.open("rb") as file:
        run = subprocess.run([sys.executable, "-ISc", code], stdin=file, capture_output=True, text=True, check=True)
    rc, peak_kib = map(int, run.stdout.split())
    assert rc == 0
    assert peak_kib < 25_000
    assert (home.path / "message").stat().st_size > 640 * 65536


def test_sendmail_injects(home: Home) -> None:
    run = home.run(
        "sendmail", "-t", "-oi", "-fs@t.u", "-F", "ignored", "arg@x.y", stdin=b"To: hdr@x.y\n\nx\n", USER="joe"
    )
    assert run.returncode == 0, run.stderr
    envelope, message = home.queued
    assert envelope == b"Fs@t.u\0Targ@x.y\0Thdr@x.y\0\0"
    assert b"\nFrom: s@t.u\n" in message


def test_sendmail_without_arguments_shows_its_usage(home: Home) -> None:
    run = home.run("sendmail", "-z")
    assert run.returncode == 100
    assert run.stderr.startswith(b"sendmail: illegal option -- z\nsendmail: usage: sendmail [ -t ]")
    run = home.run("sendmail", "-bd", "-q15m")
    assert run.returncode == 100
    assert run.stderr.startswith(b"sendmail: fatal: -bd: the mail system is started by its own services")


def test_a_run_of_the_queue_reads_no_message(home: Home) -> None:
    run = home.run("sendmail", "-q", stdin=b"To: a@b\n\n")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
    assert not (home.path / "envelope").exists()


def test_the_null_sender_of_cronie_gets_no_bounces(home: Home) -> None:
    assert home.run("sendmail", "-i", "-f", "<>", "-t", stdin=b"To: a@b.c\n\nx\n", USER="joe").returncode == 0
    envelope, message = home.queued
    assert envelope == b"F\0Ta@b.c\0\0"
    assert b"\nFrom: joe@mail.example.org\n" in message


@pytest.mark.parametrize("program", ["qmail_inject", "sendmail"])
def test_a_message_in_crlf_is_queued_in_lf(home: Home, program: str) -> None:
    words = ["-t"] if program == "sendmail" else []
    body = b"x\r\n" * 40000 + b"last\r"
    run = home.run(program, *words, stdin=b"To: a@b.c\r\nSubject: s,\r\n t\r\n\r\n" + body, USER="joe")
    assert run.returncode == 0
    message = home.queued[1]
    assert message.partition(b"To: ")[2] == b"a@b.c\nSubject: s,\n t\n\n" + b"x\n" * 40000 + b"last\r\n"
    assert b"\r\n" not in message.removesuffix(b"\r\n")


def test_a_body_in_crlf_below_a_header_in_lf_stays(home: Home) -> None:
    home.run("qmail_inject", stdin=b"To: a@b.c\n\nx\r\n")
    assert home.queued[1].endswith(b"To: a@b.c\n\nx\r\n")


def test_sendmail_hands_over_to_other_programs(home: Home) -> None:
    for name in ("qmail-qread", "qmail-smtpd"):
        (home.path / "bin" / name).write_text('#!/bin/sh\necho "$0 $PROTO"; pwd\n')
        (home.path / "bin" / name).chmod(0o755)
    assert home.run("sendmail", "-bp").stdout.split() == [f"{home.path}/bin/qmail-qread".encode(), bytes(home.path)]
    assert b"qmail-smtpd TCP\n" in home.run("sendmail", "-bs").stdout


def test_mailsubj_makes_the_header(home: Home) -> None:
    assert home.run("mailsubj", "Two words", "a@x.y", "b@x.y", stdin=b"body\n").returncode == 0
    envelope, message = home.queued
    assert envelope.endswith(b"\0Tb@x.y\0Ta@x.y\0\0")
    assert message.endswith(b"Subject: Two words\nTo: a@x.y, b@x.y\n\nbody\n")


def test_no_argument_adds_a_header_line(home: Home) -> None:
    home.run("mailsubj", "x\nBcc: y", "a@x.y", stdin=b"body\n")
    assert b"\nSubject: x\n Bcc: y\nTo: a@x.y\n\nbody\n" in home.queued[1]
    home.run("sendmail", "-F", "Me\nBcc: y", "a@x.y", stdin=b"\n")
    assert b'\nFrom: "Me\\\n Bcc: y" <anonymous@' in home.queued[1]
    assert home.queued[0].endswith(b"\0Ta@x.y\0\0")


def test_datemail_puts_the_date_first(home: Home) -> None:
    (home.path / "bin/sendmail").write_text('#!/bin/sh\necho "$@"; cat; exit 7\n')
    (home.path / "bin/sendmail").chmod(0o755)
    run = home.run("datemail", "-t", "x", stdin=b"Subject: s\n")
    assert run.returncode == 7
    first, date, rest = run.stdout.split(b"\n", 2)
    assert first == b"-t x" and date.startswith(b"Date: ") and date.endswith(b" +0000") and rest == b"Subject: s\n"


@pytest.mark.parametrize("command", [["datemail", "-t"], ["predate", "cat"]], ids=lambda words: str(words[0]))
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_a_date_is_added_with_the_line_end_of_the_message(home: Home, command: list[str], end: bytes) -> None:
    (home.path / "bin/sendmail").write_text("#!/bin/sh\ncat\n")
    (home.path / "bin/sendmail").chmod(0o755)
    message = end.join([b"Subject: s", b"To: a@x.y", b"", b"body", b""])
    date, rest = home.run(*command, stdin=message).stdout.split(end, 1)
    assert date.startswith(b"Date: ") and b"\r" not in date and rest == message
    for short in (b"", b"Subject: no line end\r", b"x" * 70_000):
        date, rest = home.run(*command, stdin=short).stdout.split(b"\n", 1)
        assert date.startswith(b"Date: ") and not date.endswith(b"\r") and rest == short


def test_a_dated_message_in_crlf_is_queued_in_lf(home: Home) -> None:
    message = b"Subject: s\r\nTo: a@x.y\r\n\r\nbody\r\n"
    dated = home.run("predate", "cat", stdin=message).stdout
    assert home.run("sendmail", "-t", stdin=dated).returncode == 0
    assert b"\r" not in home.queued[1] and home.queued[1].endswith(b"\n\nbody\n")
