"""Who a client is and what it may do: read from the environment once, rendered for programs."""

from eqmail_core.auth.credentials import Credentials
from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.policy.config import Delays
from eqmail_core.tls.session_info import TlsSessionInfo

ENVIRON = {
    b"PATH": b"/bin",
    b"TCPREMOTEHOST": b"c.test",
    b"TCPREMOTEIP": b"192.0.2.7",
    b"TCPREMOTEPORT": b"4711",
    b"TCPREMOTEINFO": b"ident",
    b"TCPLOCALIP": b"192.0.2.1",
    b"RELAYCLIENT": b"@gate",
    b"NODNSBL": b"",
    b"GREETDELAY": b"007",
}
TLS = TlsSessionInfo(b"TLSv1.3", b"AES")


def test_programs_see_the_environment_as_it_was() -> None:
    assert ClientAuthority(ENVIRON, Delays(1, 2, 3)).environ() == ENVIRON
    assert ClientAuthority({}).environ() == {}


def test_the_environment_is_read_once() -> None:
    environ = {b"TCPREMOTEIP": b"192.0.2.7"}
    client = ClientAuthority(environ)
    environ |= {b"RELAYCLIENT": b"", b"TCPREMOTEIP": b"127.0.0.1", b"NODNSBL": b""}
    assert (client.remote_ip, client.may_relay, client.is_exempt_from_dnsbl) == (b"192.0.2.7", False, False)
    client.environ()[b"RELAYCLIENT"] = b""
    assert not client.may_relay and b"RELAYCLIENT" not in client.environ()


def test_a_variable_of_a_plugin_gives_and_takes_its_right() -> None:
    client = ClientAuthority({})
    client.set_variable(b"RELAYCLIENT", b"@x")
    assert (client.relay_suffix, client.environ()) == (b"@x", {b"RELAYCLIENT": b"@x"})
    client.unset_variable(b"RELAYCLIENT")
    client.set_variable(b"NODNSBL", b"1")
    assert not client.may_relay and client.is_exempt_from_dnsbl
    client.unset_variable(b"NODNSBL")
    client.unset_variable(b"NEVER")
    assert not client.is_exempt_from_dnsbl and client.environ() == {}


def test_client_data_from_a_plugin_changes_only_the_environment_of_programs() -> None:
    client = ClientAuthority(ENVIRON)
    client.set_variable(b"TCPREMOTEIP", b"127.0.0.1")
    assert client.remote_ip == b"192.0.2.7" and client.environ()[b"TCPREMOTEIP"] == b"127.0.0.1"
    assert b"(ident@192.0.2.7)" in client.received(b"now")


def test_a_login_is_known_to_header_and_programs_and_may_relay() -> None:
    client = ClientAuthority({b"TCPREMOTEINFO": b"ident"})
    client.logged_in(Credentials(b"plain", b"joe", b"secret"))
    assert (client.login, client.remote_info, client.may_relay) == (b"joe", b"joe", True)
    assert client.environ() == {b"TCPREMOTEINFO": b"joe", b"RELAYCLIENT": b""}
    assert b"joe@" in client.received(b"now") and b"ESMTPA" in client.received(b"now")


def test_tls_takes_back_what_was_gained_in_plain_text() -> None:
    client = ClientAuthority({b"TCPREMOTEINFO": b"ident"}, Delays(0, 1, 2))
    before = client.state()
    client.hello(b"me")
    client.hello_accepted(b"me", b"ESMTP")
    client.set_variable(b"TARPITCOUNT", b"9")
    client.logged_in(Credentials(b"plain", b"joe", b"secret"))
    client.restore(before)
    client.tls_started(TLS)
    assert client.environ() == {b"TCPREMOTEINFO": b"ident"}
    assert (client.login, client.remote_info, client.may_relay) == (None, b"ident", False)
    assert client.recipient_delay_s(2) == 2
    assert b"HELO me" not in client.received(b"now") and b"ESMTPS " in client.received(b"now")


def test_a_right_is_not_granted_over_an_older_one() -> None:
    client = ClientAuthority({b"RELAYCLIENT": b"@gate"})
    client.grant_relay()
    assert client.relay_suffix == b"@gate"
