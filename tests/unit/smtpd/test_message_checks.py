"""Who is refused, who may relay, what is too much: the pure checks of the SMTP server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.access.badmailfrom import BadSenders
from eqmail_core.access.networks import NetworkSet
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.smtpd.policy.message_checks import MAX_HOPS, MessageChecks
from eqmail_core.smtpd.policy.outcome import conclude, log_line


class TestRcptHosts:
    """Domains for which mail is accepted from every client."""

    HOSTS = RcptHosts([b"example.org", b".Sub.example.org", b"local.dom"])

    @pytest.mark.parametrize(
        "address",
        [
            b"a@example.org",
            b"a@EXAMPLE.org",
            b"a@w.sub.example.org",
            b"a@v.w.SUB.example.org",
            b"noat",
            b"",
            b"a@b@local.dom",
        ],
    )
    def test_listed_domains_are_accepted(self, address: bytes) -> None:
        assert self.HOSTS.accepts(address)

    @pytest.mark.parametrize(
        "address", [b"a@x.example.org", b"a@sub.example.org", b"a@", b"a@example.org@foreign", b"a@xlocal.dom"]
    )
    def test_others_are_not(self, address: bytes) -> None:
        assert not self.HOSTS.accepts(address)

    def test_without_the_file_everything_is_accepted(self) -> None:
        assert RcptHosts(None).accepts(b"a@anywhere")

    def test_an_empty_file_accepts_only_addresses_without_a_host(self) -> None:
        assert not RcptHosts([]).accepts(b"a@anywhere")
        assert RcptHosts([]).accepts(b"postmaster")

    def test_the_compiled_ones_are_asked_for_a_host_and_its_suffixes(self) -> None:
        asked: list[list[bytes]] = []
        hosts = RcptHosts([b"here"], lambda names: asked.append(names) or True)  # type: ignore[func-returns-value]
        assert hosts.accepts(b"a@here")
        assert hosts.accepts(b"a@X.y.z")
        assert asked == [[b"x.y.z", b".y.z", b".z"]]


class TestBadSenders:
    """badmailfrom."""

    BAD = BadSenders([b"Bad@one.x", b"@whole.dom", b".sub.dom", b"noat"])

    @pytest.mark.parametrize("sender", [b"bad@ONE.x", b"any@Whole.dom", b"a@x.sub.dom", b"a@y.x.sub.dom", b"NOAT"])
    def test_listed_senders_are_refused(self, sender: bytes) -> None:
        assert self.BAD.refuses(sender)

    @pytest.mark.parametrize("sender", [b"", b"ok@one.x", b"a@sub.dom", b"a@xwhole.dom", b"whole.dom", b"bad@one.x@y"])
    def test_others_are_not(self, sender: bytes) -> None:
        assert not self.BAD.refuses(sender)

    def test_without_a_list_no_sender_is_refused(self) -> None:
        assert not BadSenders(None).refuses(b"a@b")


class TestRelayClients:
    """Clients that may send anywhere."""

    CLIENTS = NetworkSet([b"192.0.2.1", b"10.0.0.0/8", b"2001:db8::/32", b"::1", b"what?"])

    @pytest.mark.parametrize("address", [b"192.0.2.1", b"10.255.0.9", b"2001:db8::5", b"::1"])
    def test_listed_addresses_may(self, address: bytes) -> None:
        assert self.CLIENTS.includes(address)

    @pytest.mark.parametrize("address", [b"192.0.2.2", b"11.0.0.1", b"2001:db9::1", b"unknown", b""])
    def test_others_may_not(self, address: bytes) -> None:
        assert not self.CLIENTS.includes(address)

    def test_invalid_entries_are_kept_for_a_warning(self) -> None:
        assert self.CLIENTS.ignored == [b"what?"]


def checks_of(pieces: list[bytes], databytes: int = 0) -> MessageChecks:
    checks = MessageChecks(databytes)
    for piece in pieces:
        checks.receive(piece)
    return checks


class TestMessageChecks:
    """Size and hops of a message."""

    def test_a_hundred_received_lines_are_a_loop(self) -> None:
        assert not checks_of([b"rEceived: x\n" * (MAX_HOPS - 1)]).is_looping
        assert checks_of([b"delivered-to: x\n" + b"Received: x\n" * (MAX_HOPS - 1)]).is_looping

    def test_only_the_header_counts(self) -> None:
        assert checks_of([b"X: y\nReceived: a\n\n" + b"Received: x\n" * 200]).hops == 1
        assert checks_of([b"\nReceived: x\n"]).hops == 0

    def test_only_the_beginning_of_a_line_counts(self) -> None:
        assert checks_of([b"X-Received: a\n received: b\nX: received\n"]).hops == 0

    def test_a_message_of_exactly_the_limit_passes(self) -> None:
        assert not checks_of([b"abc\n"], 4).is_too_big
        assert checks_of([b"abc\n", b"\n"], 4).is_too_big
        assert not checks_of([b"x" * 1000]).is_too_big

    def test_the_checks_can_be_reset(self) -> None:
        checks = checks_of([b"Received: x\n\n"])
        checks.begin()
        checks.receive(b"Received: y\n")
        assert (checks.hops, checks.size) == (1, 12)

    @given(st.lists(st.sampled_from([b"Received: x", b"\n", b"Rec", b"eived", b"delivered", b" ", b"x", b"\n\n"])))
    def test_fragmentation_makes_no_difference(self, pieces: list[bytes]) -> None:
        whole = b"".join(pieces)
        drops = [whole[i : i + 1] for i in range(len(whole))]
        assert checks_of(pieces).hops == checks_of([whole]).hops == checks_of(drops).hops


class TestOutcome:
    """The reply to a whole message."""

    @pytest.mark.parametrize(
        ("code", "line", "what"),
        [
            (0, b"250 ok 99 qp 7", b"message accepted"),
            (31, b"554 mail server permanently rejected message (#5.3.0)",
             b"message rejected (mail server permanently rejected message (#5.3.0))"),
            (71, b"451 mail server temporarily rejected message (#4.3.0)",
             b"message delayed (mail server temporarily rejected message (#4.3.0))"),
        ],
    )  # fmt: skip
    def test_the_queue_decides(self, code: int, line: bytes, what: bytes) -> None:
        assert conclude(MessageChecks(0), code, 99, 7) == (line, what)

    def test_a_loop_goes_before_size_and_both_before_the_queue(self) -> None:
        loop = checks_of([b"Received: x\n" * 100], 1)
        assert conclude(loop, 54, 99, 7)[1] == b"message looping"
        assert conclude(checks_of([b"xx"], 1), 54, 99, 7)[1] == b"message too big"

    def test_a_message_that_may_not_be_queued_is_never_accepted(self) -> None:
        assert conclude(checks_of([b"xx"], 1), 0, 99, 7)[0].startswith(b"552")

    def test_the_log_line_names_the_client_and_is_sanitized(self) -> None:
        assert log_line(b"timeout", None, b"1.2.3.4", None, b"h") == (
            b"qmail-smtpd: timeout: (null) from 1.2.3.4 to (null) helo h\n"
        )
        line = log_line(b"timeout", b"a\x1b[2J\n", b"ip", b"\0\r", b"me there\xf6")
        assert line == b"qmail-smtpd: timeout: a?[2J? from ip to ?? helo me there\xf6\n"
