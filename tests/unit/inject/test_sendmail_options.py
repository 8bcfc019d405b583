"""Receipts that messages ask for; sendmail's command line in qmail's terms."""

import pytest

from eqmail_core.dsn.parameters import render_dsn
from eqmail_core.inject.sendmail_options import (
    INJECT,
    NEW_ALIASES,
    NOTHING,
    PROGRAMS,
    Elsewhere,
    Usage,
    parse_sendmail_command,
)
from eqmail_core.text.options import BadOption
from eqmail_core.tools.receipt import CannotParse, receipt_for

ASKS = b"Notice-Requested-Upon-Delivery-To: G: joe@x.y;, X <jim@x.y>\n"


def test_a_receipt_names_address_and_message() -> None:
    text = receipt_for([b"Message-ID: <1>\n", ASKS, b"message-id: <2>\n (x)\n"], b"jim@x.y", b"a b@c")
    assert text.startswith(b'From: DELIVERY NOTICE SYSTEM <"a b"@c>\nTo: <"a b"@c>\n')
    assert text.endswith(b"following address: jim@x.y. Thanks for asking.\nYour message-id: <2>\n (x)\n")


@pytest.mark.parametrize(
    ("address", "sender"), [(b"JOE@x.y", b"a@b"), (b"joe@x.y", b""), (b"joe@x.y", b"#@[]"), (b"other@x.y", b"a@b")]
)
def test_no_receipt_without_a_request(address: bytes, sender: bytes) -> None:
    assert receipt_for([ASKS], address, sender) == b""


def test_a_broken_request_is_shown() -> None:
    with pytest.raises(CannotParse) as caught:
        receipt_for([b"Notice-Requested-Upon-Delivery-To: (x\n"], b"a@b", b"c@d")
    assert caught.value.field.endswith(b"(x\n")


def words_of(line: bytes) -> list[bytes]:
    return parse_sendmail_command([b"sendmail", *line.split()], {}).argv[1:]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"a b", b"-a -- a b"),
        (b"-t -i -v -m -x -e7 -oi -odb -p X -B 8BITMIME a", b"-H -- a"),
        (b"-bm -Ex -J -f s@t -- -a", b"-a -f s@t -- -a"),
        (b"-G -U -n -Am -C/etc/x -d -d8.11 -h 17 -L mail -O ErrorMode=q -X /dev/null -r s@t a", b"-a -f s@t -- a"),
    ],
)
def test_options_without_meaning_for_qmail_are_ignored(line: bytes, words: bytes) -> None:
    assert words_of(line) == words.split()


def test_the_sender_shows_in_from() -> None:
    environ = {b"NAME": b"n", b"QMAILHOST": b"h", b"OTHER": b"o"}
    job = parse_sendmail_command([b"sendmail", b"-F", b"Full", b"-f", b"s@t@u"], environ)
    assert job.environ == {b"OTHER": b"o", b"QMAILUSER": b"s@t", b"QMAILHOST": b"u"}
    assert parse_sendmail_command([b"sendmail", b"-F", b"Full"], {}).environ == {b"MAILNAME": b"Full"}
    assert environ[b"NAME"] == b"n"


def test_other_modes_run_other_programs() -> None:
    assert PROGRAMS[parse_sendmail_command([b"sendmail", b"-bp"], {}).action] == "qmail-qread"
    assert PROGRAMS[parse_sendmail_command([b"/usr/bin/mailq"], {}).action] == "qmail-qread"
    assert parse_sendmail_command([b"newaliases"], {}).action == NEW_ALIASES
    assert parse_sendmail_command([b"sendmail"], {}).action == INJECT
    served = parse_sendmail_command([b"sendmail", b"-bs"], {b"DATABYTES": b"9"})
    assert PROGRAMS[served.action] == "qmail-smtpd"
    assert served.environ[b"RELAYCLIENT"] == b"" and served.environ[b"DATABYTES"] == b"0"
    assert b"RELAYCLIENT" not in parse_sendmail_command([b"sendmail", b"-bs"], {b"PROTO": b"TCP"}).environ


def test_invalid_arguments_are_refused() -> None:
    with pytest.raises(Usage):
        words_of(b"-bz")
    with pytest.raises(BadOption):
        words_of(b"-z")


@pytest.mark.parametrize("line", [b"-bd", b"-bD -q15m", b"-bl", b"-bv a@b", b"-bt", b"-bh"])
def test_unsupported_modes_are_refused_with_a_hint(line: bytes) -> None:
    with pytest.raises(Elsewhere, match=r"^-b.: .*(eqmail|qmail-tcpto)"):
        words_of(line)


def test_a_queue_run_sends_no_message() -> None:
    for line in (b"-q", b"-q15m", b"-qIabc", b"-v -q"):
        assert parse_sendmail_command([b"sendmail", *line.split()], {}).action == NOTHING
    assert words_of(b"-q a@b") == [b"-a", b"--", b"a@b"]
    assert words_of(b"-q -t") == [b"-H", b"--"]


def test_newaliases_is_refused_under_every_name() -> None:
    assert parse_sendmail_command([b"sendmail", b"-bi"], {}).action == NEW_ALIASES
    assert parse_sendmail_command([b"sendmail", b"-I"], {}).action == NEW_ALIASES


@pytest.mark.parametrize("option", [b"-f", b"-r"])
def test_the_sender_of_cronie_is_the_null_sender(option: bytes) -> None:
    job = parse_sendmail_command([b"sendmail", option, b"<>", b"a@b"], {b"USER": b"joe"})
    assert job.argv == [b"bin/qmail-inject", b"-a", b"-f", b"", b"--", b"a@b"]
    assert job.environ == {b"USER": b"joe"}


def test_sendmail_takes_dsn_options() -> None:
    job = parse_sendmail_command([b"sendmail", b"-N", b"success,delay", b"-Rhdrs", b"-V", b"a+b=c", b"joe@x"], {})
    assert job.dsn is not None
    assert render_dsn(job.dsn.for_each(2)) == b"W H E:a+2Bb+3Dc 0:sd: 1:sd:"
    assert job.argv == [b"bin/qmail-inject", b"-a", b"--", b"joe@x"]
    assert parse_sendmail_command([b"sendmail", b"joe@x"], {}).dsn is None


@pytest.mark.parametrize("word", [b"-Noften", b"-Rhalf", b"-V" + b"x" * 101, b"-V"])
def test_sendmail_refuses_invalid_dsn_options(word: bytes) -> None:
    with pytest.raises((Usage, BadOption)):
        parse_sendmail_command([b"sendmail", word], {})
