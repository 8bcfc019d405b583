"""Messages are checked by SPF, DKIM, ARC and DMARC, by both drivers, against a name server on loopback."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eqmail_core.dns import resolver
from eqmail_core.mail_auth.auth_results import MethodResult, parse_results
from tests.support.filtered_servers import KINDS, SmtpConversation, open_conversation
from tests.support.mail_auth_harness import published, signed
from tests.support.name_server import NameServer, Zone
from tests.support.scripted_milter import ScriptedMilter
from tests.support.smtp_servers import Home

ZONE: Zone = {
    ("a.test", "TXT"): ['"v=spf1 ip4:127.0.0.1 -all"'],
    ("bad.test", "TXT"): ['"v=spf1 ip4:192.0.2.1 -all"'],
    ("_dmarc.a.test", "TXT"): ['"v=DMARC1; p=reject"'],
    ("_dmarc.quarantine.test", "TXT"): ['"v=DMARC1; p=quarantine"'],
    ("_dmarc.none.test", "TXT"): ['"v=DMARC1; p=none"'],
    **{
        (name.decode(), "TXT"): [f'"{text.decode()[:200]}" "{text.decode()[200:]}"']
        for name, text in published().items()
    },
}
MESSAGE = b"From: Joe <joe@a.test>\nTo: j@ours.test\nSubject: hello\n\nbody\n.dot\n"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    with NameServer(ZONE) as running:
        blocking = resolver.BlockingResolver
        monkeypatch.setattr(
            resolver, "BlockingResolver", lambda timeout_s: blocking(["127.0.0.1"], running.port, timeout_s)
        )
        yield running


@contextmanager
def conversation(kind: str, home: Home, names: NameServer, **environ: str) -> Iterator[SmtpConversation]:
    with open_conversation(kind, home, **environ) as client:
        if client.server is not None:
            client.server.settings.name_servers = (["127.0.0.1"], names.port)
        client.command(b"EHLO me.test")
        yield client


def wire(message: bytes) -> bytes:
    return re.sub(rb"(?m)^\.", b"..", message).replace(b"\n", b"\r\n")


def send(client: SmtpConversation, message: bytes, sender: bytes = b"joe@a.test") -> bytes:
    assert client.command(b"MAIL FROM:<%b>" % sender).startswith(b"250")
    assert client.command(b"RCPT TO:<j@ours.test>").startswith(b"250")
    assert client.command(b"DATA").startswith(b"354")
    return client.command(wire(message) + b".")


def results(message: bytes) -> list[MethodResult]:
    """The first field of a message."""
    field = re.match(rb"Authentication-Results:(.*\n(?:[ \t].*\n)*)", message)
    assert field is not None
    host, found = parse_results(field[1])
    assert host == b"mx.test"
    return found


def home_with(path: Path, word: str, **controls: str) -> Home:
    return Home(path / "home", authcheck=f"{word}\n", **controls)


@pytest.mark.parametrize("kind", KINDS)
def test_a_good_message_is_marked_and_otherwise_as_it_was(tmp_path: Path, names: NameServer, kind: str) -> None:
    home = home_with(tmp_path, "mark")
    message = signed(MESSAGE, now=int(time.time()))
    with conversation(kind, home, names) as client:
        assert send(client, message).startswith(b"250 ok ")
        ((_, text),) = client.queued()
    found = results(text)
    assert [(it.method, it.result) for it in found] == [
        (b"spf", b"pass"),
        (b"dkim", b"pass"),
        (b"dkim", b"pass"),
        (b"dmarc", b"pass"),
    ]
    assert found[0].property(b"smtp.mailfrom") == b"joe@a.test"
    assert found[1].property(b"header.d") == b"a.test"
    assert found[3].property(b"header.from") == b"a.test"
    assert text.endswith(message)


@pytest.mark.parametrize("kind", KINDS)
def test_a_forged_message_is_marked_by_mark_and_refused_by_enforce(
    tmp_path: Path, names: NameServer, kind: str
) -> None:
    home = home_with(tmp_path, "mark")
    with conversation(kind, home, names) as client:
        assert send(client, MESSAGE, b"x@bad.test").startswith(b"250 ok ")
        ((_, text),) = client.queued()
        assert [(it.method, it.result) for it in results(text)] == [
            (b"spf", b"fail"),
            (b"dkim", b"none"),
            (b"dmarc", b"fail"),
        ]
    home.write("authcheck", "enforce\n")
    with conversation(kind, home, names) as client:
        answer = send(client, MESSAGE, b"x@bad.test")
        assert (
            answer == b"550 sorry, a.test asks to reject mail that it does not authenticate (DMARC p=reject) (#5.7.1)"
        )
        # The session goes on.
        assert send(client, MESSAGE).startswith(b"250 ok ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_of_quarantine_sets_a_flag_when_enforced(tmp_path: Path, names: NameServer, kind: str) -> None:
    home = home_with(tmp_path, "enforce")
    with conversation(kind, home, names) as client:
        for domain, flagged in ((b"quarantine.test", True), (b"none.test", False)):
            message = MESSAGE.replace(b"a.test", domain)
            assert send(client, message, b"x@bad.test").startswith(b"250 ok ")
            assert (b"\nX-Spam-Flag: YES\n" in client.queued()[-1][1]) is flagged


@pytest.mark.parametrize("kind", KINDS)
def test_silence_is_marked_and_deferred_when_enforced(
    tmp_path: Path, names: NameServer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = home_with(tmp_path, "mark")
    message = MESSAGE.replace(b"a.test", b"servfail.test")
    # The policy of servfail.test is asked for at _dmarc.servfail.test.
    names.zone[("_dmarc.servfail.test", "CNAME")] = ["servfail.test."]
    monkeypatch.setattr(names, "_fill", fill_or_fail(names))
    with conversation(kind, home, names) as client:
        assert send(client, message, b"x@servfail.test").startswith(b"250 ok ")
        ((_, text),) = client.queued()
        assert {it.method: it.result for it in results(text)} == {
            b"spf": b"temperror",
            b"dkim": b"none",
            b"dmarc": b"temperror",
        }
    home.write("authcheck", "enforce\n")
    with conversation(kind, home, names) as client:
        answer = send(client, message, b"x@servfail.test")
        assert answer == b"451 sorry, that message cannot be authenticated now (#4.7.5)"


def fill_or_fail(names: NameServer) -> object:
    import dns.rcode

    fill = names._fill

    def instead(response: object, name: str, kind: str) -> None:
        if name.endswith("servfail.test"):
            response.set_rcode(dns.rcode.SERVFAIL)  # type: ignore[attr-defined]
        else:
            fill(response, name, kind)  # type: ignore[arg-type]

    return instead


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("environ", [{}, {"RELAYCLIENT": ""}])
def test_results_of_others_in_our_name_are_removed(
    tmp_path: Path, names: NameServer, kind: str, environ: dict[str, str]
) -> None:
    home = home_with(tmp_path, "mark")
    forged = b"Authentication-Results: (hi) MX.test; dmarc=pass header.from=a.test\n"
    others = b"Authentication-Results: other.test; spf=pass\n"
    with conversation(kind, home, names, **environ) as client:
        assert send(client, forged + others + MESSAGE).startswith(b"250 ok ")
        ((_, text),) = client.queued()
    assert forged not in text
    assert others in text
    assert (b"Authentication-Results: mx.test" in text) is not environ


@pytest.mark.parametrize("kind", KINDS)
def test_clients_that_may_relay_are_not_checked(tmp_path: Path, names: NameServer, kind: str) -> None:
    home = home_with(tmp_path, "enforce")
    with conversation(kind, home, names, RELAYCLIENT="") as client:
        assert send(client, MESSAGE, b"x@bad.test").startswith(b"250 ok ")
        assert client.queued()[0][1] == MESSAGE
    assert names.asked == []


@pytest.mark.parametrize("kind", KINDS)
def test_off_asks_nothing_and_changes_nothing(tmp_path: Path, names: NameServer, kind: str) -> None:
    home = Home(tmp_path / "home")
    with conversation(kind, home, names) as client:
        assert send(client, MESSAGE, b"x@bad.test").startswith(b"250 ok ")
        assert client.queued()[0][1] == MESSAGE
    assert names.asked == []


def test_the_sender_is_asked_about_while_the_client_goes_on(tmp_path: Path, names: NameServer) -> None:
    home = home_with(tmp_path, "mark")
    with conversation("resident", home, names) as client:
        assert client.command(b"MAIL FROM:<joe@a.test>").startswith(b"250")
        deadline = time.monotonic() + 60
        while ("a.test", "TXT", "udp") not in names.asked and time.monotonic() < deadline:
            time.sleep(0.01)
        assert names.asked == [("a.test", "TXT", "udp")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_long_message_is_checked_to_its_end(tmp_path: Path, names: NameServer, kind: str) -> None:
    home = home_with(tmp_path, "mark")
    message = signed(MESSAGE + b"a line of some length, and \tmore\n" * 100_000, now=int(time.time()))
    with conversation(kind, home, names) as client:
        assert send(client, message).startswith(b"250 ok ")
        assert send(client, message + b"added\n").startswith(b"250 ok ")
        found = [[it.result for it in results(text) if it.method == b"dkim"] for _, text in client.queued()]
    assert found == [[b"pass", b"pass"], [b"fail", b"fail"]]


@pytest.mark.parametrize("kind", KINDS)
def test_a_domain_with_names_without_end_is_bounded(tmp_path: Path, names: NameServer, kind: str) -> None:
    """Ten exchangers of ten terms are more names than one message may cost."""
    home = home_with(tmp_path, "mark")
    names.zone[("many.test", "TXT")] = ['"v=spf1 ' + " ".join(f"mx:x{number}.test" for number in range(10)) + ' -all"']
    for number in range(10):
        names.zone[(f"x{number}.test", "MX")] = [f"0 m{number}-{host}.test." for host in range(10)]
    with conversation(kind, home, names) as client:
        assert send(client, MESSAGE, b"x@many.test").startswith(b"250 ok ")
        ((_, text),) = client.queued()
    assert results(text)[0].result == b"temperror"
    assert len(names.asked) <= 2 * 64


@pytest.mark.parametrize("kind", KINDS)
def test_filters_see_the_results_and_the_checks_what_was_received(tmp_path: Path, names: NameServer, kind: str) -> None:
    """A milter that changes the body does so after the signatures were verified."""
    message = signed(MESSAGE, now=int(time.time()))
    with ScriptedMilter() as milter:
        milter.script[b"E"] = [b"b" + b"another body\r\n", b"a"]
        home = home_with(tmp_path, "mark", milters=f"{milter.address}\n")
        with conversation(kind, home, names) as client:
            assert send(client, message).startswith(b"250 ok ")
            ((_, text),) = client.queued()
        seen = [payload for connection in milter.received for letter, payload in connection if letter == b"L"]
    assert any(payload.startswith(b"Authentication-Results\0") and b"dmarc=pass" in payload for payload in seen)
    assert [it.result for it in results(text) if it.method == b"dkim"] == [b"pass", b"pass"]
    assert text.endswith(b"\n\nanother body\n")
