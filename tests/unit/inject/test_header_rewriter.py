"""Injection: hosts completed, fields added and dropped, envelopes made."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.inject.header_rewriter import HeaderRewriter
from eqmail_core.inject.host_defaults import BadAddress, HostDefaults
from eqmail_core.inject.originator import Originator
from eqmail_core.mail.address import quote_address
from eqmail_core.mail.address_list import Unparsable, text_of, tokenise
from eqmail_core.mail.header import HeaderReader

RULES = HostDefaults(b"mail.example.org", b"example.org", b"plus.example")
NOW, PID = 1_600_000_000.9, 77
MESSAGE_ID = b"Message-ID: <20200913122640.77.qmail@id.example>\n"


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC0")
    time.tzset()


def injection(lists: tuple[bytes, ...] = (), **environ: str) -> HeaderRewriter:
    person = Originator({name.encode(): value.encode() for name, value in {"USER": "joe", **environ}.items()})
    return HeaderRewriter(RULES, person, b"id.example", NOW, PID, lists)


def injected(header: bytes, lists: tuple[bytes, ...] = (), **environ: str) -> HeaderRewriter:
    reader = HeaderReader()
    reader.feed(header)
    reader.end()
    it = injection(lists, **environ)
    it.take_header(reader.fields)
    return it


@pytest.mark.parametrize(
    ("typed", "complete"),
    [
        (b"bob", b"bob@mail.example.org"),
        (b"bob@", b"bob@mail.example.org"),
        (b"bob@host", b"bob@host.example.org"),
        (b"bob@host.", b"bob@host.example.org"),
        (b"bob@x.y", b"bob@x.y"),
        (b"bob@host+", b"bob@host.plus.example"),
        (b"bob@x.y+", b"bob@x.y.plus.example"),
        (b"bob@[10.0.0.1]", b"bob@[10.0.0.1]"),
        (b"bob-@[]", b"bob-@[]"),
        (b"@r1,@r2:bob@h", b"bob@h.example.org"),
        (b"@r1,@r2", b""),
        (b"a@b@c", b"a@b@c.example.org"),
        (b'"a b"@h', b"a b@h.example.org"),
        (b".", b""),
        (b"@", b""),
        (b"", b""),
    ],
)
def test_hosts_are_completed(typed: bytes, complete: bytes) -> None:
    assert text_of(RULES.complete(tokenise(typed))) == complete


@pytest.mark.parametrize(
    ("typed", "complete"),
    [
        (b"", b""),
        (b"<>", b"<>@mail.example.org"),
        (b"a@b, c@d", b"a@b, c@d.example.org"),
        (b"@r:s@h", b"@r:s@h.example.org"),
        (b"box@[]", b"box@[]"),
    ],
)
def test_arguments_of_the_command_line_are_single_addresses(typed: bytes, complete: bytes) -> None:
    assert RULES.complete_text(typed) == complete


@given(st.binary(max_size=40))
def test_any_argument_is_completed_or_refused(typed: bytes) -> None:
    it = injection()
    try:
        complete = RULES.complete_text(typed)
    except Unparsable:
        for act in (it.use_sender, it.add_recipient):
            with pytest.raises(BadAddress, match=r"^unable to parse "):
                act(typed)
        assert (it.sender, it.recipients(True)) == (b"", [])
        return
    it.use_sender(typed)
    it.add_recipient(typed)
    assert (it.sender, it.recipients(True)) == (complete, [complete])
    it.take_header([b"Return-Path: <other@x.y>\n"])
    assert it.sender == complete
    box, at, host = typed.rpartition(b"@")
    if not at:
        assert complete == (typed and typed + b"@mail.example.org")
    elif host:
        assert complete.startswith(box + b"@")


@pytest.mark.parametrize("word", [b"a@(", b"a b@h(", b"@[x"])
def test_an_unparsable_argument_is_refused_as_sender_and_as_recipient(word: bytes) -> None:
    it = injection()
    with pytest.raises(BadAddress) as caught:
        it.use_sender(word)
    assert caught.value.text == b"unable to parse this line:\n" + quote_address(word)
    with pytest.raises(BadAddress) as caught:
        it.add_recipient(word)
    assert caught.value.text == b"unable to parse address: " + word + b"\n"
    assert (it.sender, it.recipients(True)) == (b"", [])


@given(
    st.lists(
        st.sampled_from(
            [
                b"To: ",
                b"From:",
                b"Cc : ",
                b"Return-Path:",
                b"X: ",
                b"\n",
                b" ",
                b"a@b",
                b",",
                b"<",
                b">",
                b":",
                b";",
                b'"',
                b"(",
                b"\\",
                b"\xff",
            ]
        )
    ).map(b"".join)
    | st.binary(max_size=80)
)
def test_any_header_is_rewritten_or_refused(header: bytes) -> None:
    try:
        it = injected(header)
    except BadAddress as bad:
        assert bad.text.startswith(b"unable to parse this line:\n")
        return
    reader = HeaderReader()
    reader.feed(it.header)
    reader.end()
    assert not reader.body
    names = [field.partition(b":")[0].strip().lower() for field in reader.fields]
    assert {b"date", b"message-id", b"from"} <= set(names) or b"resent-from" in names
    assert not {b"bcc", b"return-path", b"content-length"} & set(names)


def test_missing_fields_come_first_in_their_order() -> None:
    it = injected(b"Subject: s\nBcc: b\n")
    assert it.header == (
        b"Date: 13 Sep 2020 12:26:40 +0000\n" + MESSAGE_ID + b"From: joe@mail.example.org\n"
        b"Cc: recipient list not shown: ;\nSubject: s\n"
    )
    assert (it.sender, it.recipients(True), it.recipients(False)) == (
        b"joe@mail.example.org",
        [b"b@mail.example.org"],
        [],
    )


def test_resent_fields_replace_recipients_and_are_completed() -> None:
    it = injected(b"Resent-To: r@x.y\nTo: orig@x.y\nDate: today\n")
    assert it.header.startswith(b"Resent-Date: 13 Sep")
    assert b"\nResent-From: joe@mail.example.org\nResent-To: r@x.y\nTo: orig@x.y\nDate: today\n" in it.header
    assert it.recipients(True) == [b"r@x.y"]


def test_recipients_of_the_command_line_precede_those_of_the_header() -> None:
    it = injection()
    it.add_recipient(b"arg@x.y")
    it.take_header([b"To: a@1.a b@2.b\n", b"Cc: d@4.d\n", b"Bcc: e@5.e\n"])
    assert it.recipients(True) == [b"arg@x.y", b"b@2.b", b"a@1.a", b"d@4.d", b"e@5.e"]
    assert it.recipients(False) == [b"arg@x.y"]


def test_the_first_return_path_seen_is_the_sender() -> None:
    assert injected(b"Return-Path: <rp@host>\nReturn-Path: <other@x.y>\n").sender == b"rp@host.example.org"
    assert injected(b"Return-Path: <>\n").sender == b""
    assert injected(b"Return-Path: <rp@host>\n", QMAILINJECT="s").sender == b"joe@mail.example.org"


def test_a_sender_of_the_command_line_beats_the_header() -> None:
    it = injection(QMAILINJECT="m")
    it.use_sender(b"list-@[]")
    it.take_header([b"Return-Path: <rp@host>\n"])
    assert it.sender == b"list-@[]"


@pytest.mark.parametrize(
    ("flags", "sender"),
    [
        ("m", b"joe-1600000000.77@mail.example.org"),
        ("r", b"joe-@mail.example.org-@[]"),
        ("rm", b"joe-1600000000.77-@mail.example.org-@[]"),
    ],
)
def test_qmailinject_flags_set_verp_senders(flags: str, sender: bytes) -> None:
    assert injected(b"", QMAILINJECT=flags).sender == sender


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"QMAILNAME": "J. Doe"}, b'From: "J. Doe" <joe@mail.example.org>\n'),
        ({"QMAILNAME": 'a"(b'}, b'From: "a\\"\\(b" <joe@mail.example.org>\n'),
        ({"QMAILNAME": "J. Doe", "QMAILINJECT": "c"}, b"From: joe@mail.example.org (J. Doe)\n"),
        ({"QMAILNAME": ""}, b'From: "" <joe@mail.example.org>\n'),
        ({"QMAILUSER": "a b", "QMAILHOST": "h"}, b'From: "a b"@h.example.org\n'),
        ({"QMAILUSER": ""}, b'From: ""@mail.example.org\n'),
        ({"QMAILHOST": ""}, b"From: joe@mail.example.org\n"),
        ({"MAILUSER": "m", "LOGNAME": "l"}, b"From: m@mail.example.org\n"),
    ],
)
def test_from_is_made_of_the_environment(environ: dict[str, str], line: bytes) -> None:
    assert line in injected(b"", **environ).header


def test_qmailinject_flags_replace_fields() -> None:
    it = injected(b"From: mine@x.y\nMessage-ID: <mine>\n", QMAILINJECT="fi")
    assert b"mine" not in it.header
    assert b"From: joe@" in it.header and MESSAGE_ID in it.header


def test_a_mailing_list_gets_a_follow_up_field() -> None:
    it = injected(b"To: l1@a.b, List@X.y\nCc: c1@a.b, c2@a.b\n", lists=(b"list@x.y",))
    assert b"Mail-Followup-To: c1@a.b,\n  c2@a.b,\n  l1@a.b,\n  List@X.y\nTo: " in it.header
    assert b"Followup" not in injected(b"To: list@x.y\nResent-To: x\n", lists=(b"list@x.y",)).header
    assert b"Followup" not in injected(b"To: a@b\n", lists=(b"list@x.y",)).header


def test_invalid_defaults_are_named() -> None:
    with pytest.raises(BadAddress) as caught:
        HostDefaults(b"a(b", b"", b"")
    assert caught.value.text == b"unable to parse this line:\n@a(b"
