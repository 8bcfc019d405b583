"""TLS with other servers: what is sent how, and to whom, by the resident service and by qmail-remote alike."""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.remote.delivery import RemoteDeliveries
from tests.support.remote_harness import Deliver, RemoteHome, Report, reported
from tests.support.scripted_server import ScriptedServer
from tests.support.tls_servers import STARTTLS, TLS_BEGINS, TlsServer, context_of, write_self_signed

HELLO = b"EHLO me.test\r\n"
MAIL = b"MAIL FROM:<s@x.test>\r\n"
ACCEPTED = (b"K", b"127.0.0.2 accepted message.\nRemote host said: 250 queued\n")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture(scope="module")
def good(authority: trustme.CA) -> ssl.SSLContext:
    return context_of(authority.issue_cert("a.test", key_type=trustme.KeyType.ECDSA))


def demand(remote_home: RemoteHome, authority: trustme.CA | None, name: str = "a.test") -> Path:
    folder = remote_home.home / "control/tlshosts"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.pem"
    path.write_bytes(authority.cert_pem.bytes() if authority else b"")
    return path


def lead_to(remote_home: RemoteHome, server: ScriptedServer) -> None:
    """All exchangers are reached at the server's port."""
    remote_home.control("smtproutes", f"::{server.port}")


# --------------------------------------------------------------------- as offered


def test_tls_is_used_where_offered_with_any_certificate(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    with TlsServer(good, {"secured": "250-fake\n250 8BITMIME"}) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
        server.wait_until_received(b"QUIT\r\n")
        assert server.received[0].startswith(HELLO + b"STARTTLS\r\n" + TLS_BEGINS + HELLO + MAIL)
        assert b"Subject: x\r\n\r\n..body\r\n.\r\n" in server.received[0]
        assert server.secured[0].version() in ("TLSv1.2", "TLSv1.3")


def test_what_was_offered_before_tls_does_not_count_after_it(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    before = {"ehlo": "250-x\n250-AUTH PLAIN\n250-PIPELINING\n250 starttls", "secured": "500 what", "helo": "250 x"}
    with TlsServer(good, before) as server:
        remote_home.control("smtproutes", f":127.0.0.2:{server.port} user secret")
        assert deliver(b"r@one.test") == ACCEPTED
    assert b"AUTH" not in server.received[0]
    assert server.received[0].endswith(b"HELO me.test\r\n" + MAIL + server.received[0].partition(MAIL)[2])


def test_a_password_is_sent_by_what_is_offered_under_tls(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    with TlsServer(good, {"secured": "250-x\n250 AUTH PLAIN", "auth": "235 ok"}) as server:
        remote_home.control("smtproutes", f":127.0.0.2:{server.port} user secret")
        assert deliver(b"r@one.test") == ACCEPTED
    assert TLS_BEGINS + HELLO + b"AUTH PLAIN " in server.received[0]


def test_a_large_message_arrives_whole_under_tls(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    message = b"".join(b".%07d\n" % number for number in range(200_000))
    (remote_home.home / "message").write_bytes(message)
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
        content = server.received[0].partition(b"DATA\r\n")[2].partition(b"\r\n.\r\n")[0] + b"\r\n"
    assert content == message.replace(b".", b"..").replace(b"\n", b"\r\n")


def test_a_refused_starttls_means_plain_text(deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext) -> None:
    with TlsServer(good, {"star": "454 not now"}) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
    assert server.received[0].startswith(HELLO + b"STARTTLS\r\n" + MAIL)


def test_old_tls_is_not_spoken(deliver: Deliver, remote_home: RemoteHome, authority: trustme.CA) -> None:
    old = context_of(authority.issue_cert("a.test"))
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with TlsServer(old) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text[:21], text[-27:]) == (b"Z", b"TLS connect failed: t", b"; connecting to 127.0.0.2.\n")


# --------------------------------------------------------------------- when the handshake fails


def test_a_broken_handshake_defers(deliver: Deliver, remote_home: RemoteHome) -> None:
    with TlsServer(None) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text) == (b"Z", b"TLS connect failed: wrong version number; connecting to 127.0.0.2.\n")
    assert len(server.received) == 1


def test_a_server_that_leaves_instead_of_a_handshake_defers(deliver: Deliver, remote_home: RemoteHome) -> None:
    class ClosingTlsServer(ScriptedServer):
        def upgrade(self, client: socket.socket, number: int) -> socket.socket:
            client.shutdown(socket.SHUT_RDWR)
            raise OSError

    with ClosingTlsServer(STARTTLS, host="127.0.0.2") as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text) == (b"Z", b"TLS connect failed: connection died; connecting to 127.0.0.2.\n")


def test_a_silent_handshake_is_given_up(deliver: Deliver, remote_home: RemoteHome) -> None:
    class SilentTlsServer(ScriptedServer):
        def upgrade(self, client: socket.socket, number: int) -> socket.socket:
            while client.recv(4096):
                pass
            return client

    remote_home.control("timeoutremote", "1")
    with SilentTlsServer(STARTTLS, host="127.0.0.2") as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test")[1] == b"TLS connect failed: connection died; connecting to 127.0.0.2.\n"


def test_where_it_is_allowed_a_broken_handshake_is_followed_by_plain_text(
    deliver: Deliver, remote_home: RemoteHome
) -> None:
    remote_home.control("tlsfallback", "1")
    with TlsServer(None) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
    assert len(server.received) == 2
    assert server.received[1].startswith(HELLO + MAIL)


@pytest.mark.parametrize("reason", ["certificate", "password", "port"])
def test_plain_text_never_replaces_tls_that_was_demanded(
    reason: str, deliver: Deliver, remote_home: RemoteHome, authority: trustme.CA
) -> None:
    remote_home.control("tlsfallback", "1")
    with TlsServer(None, implicit=reason == "port") as server:
        lead_to(remote_home, server)
        if reason == "certificate":
            demand(remote_home, authority)
        elif reason == "password":
            remote_home.control("smtproutes", f":127.0.0.2:{server.port} user secret")
        else:
            remote_home.implicit_tls_port = server.port
        assert deliver(b"r@one.test")[1].startswith(b"TLS connect failed: ")
    assert len(server.received) == 1


@pytest.mark.parametrize("fallback", ["0", "1"])
def test_plain_text_behind_the_answer_to_starttls_defers(
    fallback: str, deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    remote_home.control("tlsfallback", fallback)
    with TlsServer(good, {"star": "220 go\n250-fake\n250 AUTH PLAIN"}) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text) == (
        b"Z",
        b"TLS connect failed: plain text behind the answer to STARTTLS; connecting to 127.0.0.2.\n",
    )
    assert len(server.received) == 1


# --------------------------------------------------------------------- as the control files say


def test_a_server_with_the_right_certificate_gets_its_mail(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext, authority: trustme.CA
) -> None:
    demand(remote_home, authority)
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
    assert TLS_BEGINS in server.received[0]


def test_a_certificate_may_stand_for_a_whole_domain(
    deliver: Deliver, remote_home: RemoteHome, authority: trustme.CA
) -> None:
    remote_home.names.zone[("wild.test", "MX")] = ["10 mx.wild.test."]
    remote_home.names.zone[("mx.wild.test", "A")] = ["127.0.0.2"]
    demand(remote_home, authority, "mx.wild.test")
    with TlsServer(context_of(authority.issue_cert("*.wild.test"))) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@wild.test") == ACCEPTED


@pytest.mark.parametrize("answer", ["!close", "454 not now"])
def test_where_it_is_allowed_plain_text_follows_a_server_that_leaves_at_starttls(
    answer: str, deliver: Deliver, remote_home: RemoteHome
) -> None:
    """After 454 it disconnects at the next command."""
    leaving = STARTTLS | {"star": answer, "mail": "!close"}
    with ScriptedServer(leaving, {}, host="127.0.0.2") as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
        assert (letter, server.messages) == (b"Z", 0)
        reason = b" was refused (454 not now) and" if answer != "!close" else b","
        assert text == b"TLS connect failed: STARTTLS" + reason + b" connection died; connecting to 127.0.0.2.\n"
    remote_home.control("tlsfallback", "1")
    with ScriptedServer(leaving, {}, host="127.0.0.2") as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
        assert (len(server.received), server.messages) == (2, 1)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ({"ehlo": "250 fake"}, b"No TLS achieved while control/tlshosts/a.test.pem exists; connecting to 127.0.0.2.\n"),
        ({"ehlo": "500 fake"}, b"No TLS achieved while control/tlshosts/a.test.pem exists; connecting to 127.0.0.2.\n"),
        (
            {"star": "454 not now"},
            b"STARTTLS rejected while control/tlshosts/a.test.pem exists; connecting to 127.0.0.2.\n"
            b"Remote host said: 454 not now\n",
        ),
    ],
)
def test_without_the_tls_that_is_demanded_mail_waits(
    script: dict[str, str],
    reason: bytes,
    deliver: Deliver,
    remote_home: RemoteHome,
    good: ssl.SSLContext,
    authority: trustme.CA,
) -> None:
    demand(remote_home, authority)
    with TlsServer(good, script) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == (b"Z", reason)
        server.wait_until_received(b"QUIT\r\n")
    assert b"MAIL" not in server.received[0]


@pytest.mark.parametrize("trouble", ["foreign", "expired", "name", "self-signed"])
def test_a_server_with_a_wrong_certificate_gets_nothing(
    trouble: str, deliver: Deliver, remote_home: RemoteHome, authority: trustme.CA
) -> None:
    demand(remote_home, authority)
    file = b"TLS unable to verify server with control/tlshosts/a.test.pem: "
    if trouble == "foreign":
        context, reason = (
            context_of(trustme.CA().issue_cert("a.test")),
            file + b"unable to get local issuer certificate",
        )
    elif trouble == "expired":
        past = datetime.now(UTC) - timedelta(1)
        expired = authority.issue_cert("a.test", not_before=past - timedelta(1), not_after=past)
        context, reason = context_of(expired), file + b"certificate has expired"
    elif trouble == "self-signed":
        context = write_self_signed(remote_home.home / "other.pem", "a.test")
        reason = file + b"self-signed certificate"
    else:
        context = context_of(authority.issue_cert("b.test"))
        reason = b"TLS unable to verify server a.test: certificate contains no matching dNSNnames"
    with TlsServer(context) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text) == (b"Z", reason + b"; connected to 127.0.0.2.\n")
    assert b"MAIL" not in server.received[0]


@pytest.mark.parametrize("name", ["a.test", "b.test"])
def test_a_self_signed_certificate_is_trusted_by_its_file_and_judged_by_its_common_name(
    name: str, deliver: Deliver, remote_home: RemoteHome
) -> None:
    path = demand(remote_home, None)
    with TlsServer(write_self_signed(path, name)) as server:
        lead_to(remote_home, server)
        report = deliver(b"r@one.test")
    if name == "a.test":
        assert report == ACCEPTED
    else:
        text = b"TLS unable to verify server a.test: received certificate for b.test; connected to 127.0.0.2.\n"
        assert report == (b"Z", text)


def test_a_file_of_authorities_without_any_is_reported(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    demand(remote_home, None)
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    start = b"TLS unable to load control/tlshosts/a.test.pem: "
    assert (letter, text[: len(start)], text[-27:]) == (b"Z", start, b"; connecting to 127.0.0.2.\n")


def test_hosts_listed_get_no_tls_and_with_an_exhaustive_list_only_those_with_certificates(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext, authority: trustme.CA
) -> None:
    def has_tls() -> bool:
        with TlsServer(good) as server:
            lead_to(remote_home, server)
            assert deliver(b"r@one.test") == ACCEPTED
        return TLS_BEGINS in server.received[0]

    (remote_home.home / "control/notlshosts").mkdir()
    (remote_home.home / "control/notlshosts/a.test").touch()
    assert not has_tls()
    demanding = demand(remote_home, authority)
    assert has_tls()
    demanding.unlink()
    (remote_home.home / "control/notlshosts/a.test").unlink()
    assert has_tls()
    (remote_home.home / "control/tlshosts/exhaustivelist").touch()
    assert not has_tls()


def test_our_own_certificate_is_shown(deliver: Deliver, remote_home: RemoteHome, authority: trustme.CA) -> None:
    own = authority.issue_cert("me.test")
    (remote_home.home / "control/clientcert.pem").write_bytes(own.private_key_and_cert_chain_pem.bytes())
    strict = context_of(authority.issue_cert("a.test"))
    strict.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(strict)
    with TlsServer(strict) as server:
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == ACCEPTED
        assert (server.secured[0].getpeercert() or {})["subjectAltName"] == (("DNS", "me.test"),)


@pytest.mark.parametrize("name", ["clientcert.pem", "tlsclientciphers", "tlsdestciphers"])
def test_settings_that_make_no_sense_are_named(
    name: str, deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    remote_home.control(name, "a.test:nonsense" if name == "tlsdestciphers" else "nonsense")
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert letter == b"Z"
    reason = b"PEM lib" if name == "clientcert.pem" else b"No cipher can be selected"
    assert text == b"TLS unable to load control/%b: %b; connecting to 127.0.0.2.\n" % (name.encode(), reason)


def test_the_ciphers_are_those_of_the_control_file(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    remote_home.control("tlsclientciphers", "NO-SUCH-CIPHER\nECDHE-ECDSA-CHACHA20-POLY1305")
    with TlsServer(good) as server:
        good.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            lead_to(remote_home, server)
            assert deliver(b"r@one.test") == ACCEPTED
            assert (server.secured[0].cipher() or ("",))[0] == "ECDHE-ECDSA-CHACHA20-POLY1305"
        finally:
            good.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


@pytest.mark.parametrize("key", ["a.test", ".test"])
def test_a_destination_may_have_ciphers_of_its_own(
    key: str, deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    remote_home.control("tlsclientciphers", "ECDHE-ECDSA-CHACHA20-POLY1305")
    remote_home.control(
        "tlsdestciphers", f"elsewhere.test:NO-SUCH-CIPHER\n{key}:ECDHE-ECDSA-AES256-GCM-SHA384:AES128-SHA"
    )
    with TlsServer(good) as server:
        good.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            lead_to(remote_home, server)
            assert deliver(b"r@one.test") == ACCEPTED
            assert (server.secured[0].cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
        finally:
            good.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


# --------------------------------------------------------------------- a port of its own


def test_a_port_with_implicit_tls_begins_with_it(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    with TlsServer(good, implicit=True) as server:
        remote_home.implicit_tls_port = server.port
        remote_home.control("smtproutes", f":127.0.0.2:{server.port}")
        assert deliver(b"r@one.test") == ACCEPTED
    assert server.received[0].startswith(TLS_BEGINS + HELLO + MAIL)


def test_implicit_tls_is_verified_where_that_is_demanded(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext, authority: trustme.CA
) -> None:
    demand(remote_home, authority)
    with TlsServer(good, implicit=True) as server:
        remote_home.implicit_tls_port = server.port
        remote_home.control("smtproutes", f"one.test:a.test:{server.port}")
        assert deliver(b"r@one.test") == ACCEPTED
        demand(remote_home, trustme.CA())
        assert deliver(b"r@one.test")[1].endswith(
            b": unable to get local issuer certificate; connected to 127.0.0.2.\n"
        )


def test_a_bad_greeting_under_implicit_tls_is_reported(
    deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    with TlsServer(good, {"greet": "554 go away"}, implicit=True) as server:
        remote_home.implicit_tls_port = server.port
        lead_to(remote_home, server)
        assert deliver(b"r@one.test") == (
            b"Z",
            b"TLS Connected to 127.0.0.2 but greeting failed.\nRemote host said: 554 go away\n",
        )


def test_plain_text_at_a_port_with_implicit_tls_defers(deliver: Deliver, remote_home: RemoteHome) -> None:
    with ScriptedServer(host="127.0.0.2") as server:
        remote_home.implicit_tls_port = server.port
        lead_to(remote_home, server)
        assert deliver(b"r@one.test")[1] == b"TLS connect failed: wrong version number; connecting to 127.0.0.2.\n"
    assert b"EHLO" not in server.received[0]


# --------------------------------------------------------------------- connections that are kept


def test_a_reused_tls_connection_sends_more_messages_and_quits(remote_home: RemoteHome, good: ssl.SSLContext) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> list[Report]:
        orders = [DeliveryRequest(number, 1, b"", b"s@x.test", b"r@one.test") for number in range(3)]
        return [reported(await deliveries.deliver(order, remote_home.message)) for order in orders]

    with TlsServer(good) as server:
        lead_to(remote_home, server)
        assert remote_home.run(scenario) == [ACCEPTED] * 3
        server.wait_until_received(b"QUIT\r\n")
    assert len(server.received) == 1
    assert server.received[0].count(b"EHLO") == 2


def test_a_connection_without_the_tls_that_is_demanded_now_is_not_used(
    remote_home: RemoteHome, good: ssl.SSLContext, authority: trustme.CA
) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> None:
        order = DeliveryRequest(1, 1, b"", b"s@x.test", b"r@one.test")
        await deliveries.deliver(order, remote_home.message)
        demand(remote_home, authority)
        assert reported(await deliveries.deliver(order, remote_home.message)) == ACCEPTED

    with TlsServer(good) as server:
        lead_to(remote_home, server)
        remote_home.run(scenario)
        assert len(server.secured) == 2


def test_a_verified_name_does_not_count_for_another_host(
    remote_home: RemoteHome, good: ssl.SSLContext, authority: trustme.CA
) -> None:
    remote_home.names.zone[("b.test", "A")] = ["127.0.0.2"]
    demand(remote_home, authority, "a.test")
    demand(remote_home, authority, "b.test")
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        first, second = remote_home.deliver(b"r@a.test", b"r@b.test")
    assert (first[0], second[0]) == (b"K", b"Z")


def test_the_next_connection_resumes_the_session(remote_home: RemoteHome, good: ssl.SSLContext) -> None:
    remote_home.control("remotereuse", "0")
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        assert remote_home.deliver(b"a@one.test", b"b@one.test") == [ACCEPTED] * 2
        assert [it.session_reused for it in server.secured] == [False, True]


def test_many_deliveries_under_tls_at_a_time_leave_nothing_behind(
    remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    async def scenario(deliveries: RemoteDeliveries) -> list[Report]:
        orders = [DeliveryRequest(number, 1, b"", b"s@x", b"r%d@one.test" % number) for number in range(20)]
        results = await asyncio.gather(*[deliveries.deliver(order, remote_home.message) for order in orders])
        return [reported(result) for result in results]

    with TlsServer(good) as server:
        lead_to(remote_home, server)
        assert {letter for letter, _ in remote_home.run(scenario)} == {b"K"}
        assert server.messages == 20


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        ("loop", b"TLS unable to look for control/tlshosts/a.test.pem: Too many levels of symbolic links. (#4.3.0)\n"),
        ("folder", b"TLS unable to load control/tlshosts/a.test.pem: "),
    ],
)
def test_files_that_cannot_be_read_are_named_and_mean_no_plain_text(
    trouble: str, reason: bytes, deliver: Deliver, remote_home: RemoteHome, good: ssl.SSLContext
) -> None:
    path = demand(remote_home, None)
    path.unlink()
    if trouble == "loop":
        path.symlink_to(path)
    else:
        path.mkdir()
    with TlsServer(good) as server:
        lead_to(remote_home, server)
        letter, text = deliver(b"r@one.test")
    assert (letter, text[: len(reason)]) == (b"Z", reason)
    assert not server.messages
