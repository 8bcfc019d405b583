"""The decisions of an SMTP conversation, with plugins and password checkers played by the test."""

from collections.abc import Callable

import pytest

from eqmail_core.access.badmailfrom import BadSenders
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.auth.checkpassword import CHECKER_CRASHED, NO_CHILD
from eqmail_core.auth.credentials import Credentials
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.policy.config import PolicyConfig
from eqmail_core.smtpd.policy.decisions import SmtpPolicy
from eqmail_core.smtpd.policy.plugin_protocol import PluginResult
from eqmail_core.smtpd.policy.plugin_sections import parse_plugins
from eqmail_core.smtpd.policy.requests import CheckPassword, Delay, RunPlugin
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import (
    CONNECTED,
    DATA,
    AuthEvent,
    Decision,
    Hello,
    Mail,
    Recipient,
    SmtpEvent,
)
from eqmail_core.smtpd.protocol.options import ServerOptions

CLIENT = {b"TCPREMOTEHOST": b"c.test", b"TCPREMOTEIP": b"192.0.2.7", b"TCPLOCALHOST": b"mx.test"}
Said = dict[bytes, bytes]


def policy_config(
    plugins: bytes | None = None, is_more: Callable[[list[bytes]], bool] = lambda names: False
) -> PolicyConfig:
    sections = None if plugins is None else parse_plugins(plugins)
    return PolicyConfig(ServerOptions(b"mx"), RcptHosts([b"ours"], is_more), BadSenders([b"bad@x"]), sections)


class PluginPolicy:
    """A reception whose plugins say what `speeches` has for them: a text, or a reason why they could not run."""

    def __init__(self, plugins: bytes | None = None, plugin_outputs: Said | None = None, **variables: bytes) -> None:
        environ = CLIENT | {name.encode(): value for name, value in variables.items()}
        self.client = ClientAuthority(environ)
        self.reception = SmtpPolicy(policy_config(plugins), self.client, lambda: b"NOW")
        self.plugin_outputs = plugin_outputs or {}
        self.run: list[tuple[bytes, dict[bytes, bytes]]] = []
        self.pauses: list[float] = []
        self.checker = 0

    def decide(self, event: SmtpEvent) -> Decision:
        decision = self.reception.decide(event)
        if isinstance(decision, Decision):
            return decision
        outcome: PluginResult | int | None = None
        while True:
            try:
                job = decision.send(outcome)
            except StopIteration as end:
                assert isinstance(end.value, Decision)
                return end.value
            if isinstance(job, RunPlugin):
                name = job.argv[-1]
                self.run.append((name, dict(job.environ)))
                plugin_output = self.plugin_outputs.get(name, b"")
                if plugin_output.startswith(b"!"):
                    outcome = PluginResult([], plugin_output[1:])
                else:
                    outcome = PluginResult([(line[:1], line[1:]) for line in plugin_output.split(b"\n") if line])
            elif isinstance(job, CheckPassword):
                outcome = self.checker
            elif isinstance(job, Delay):
                self.pauses.append(job.seconds)
                outcome = None

    def mail(self, sender: bytes = b"a@b") -> Decision:
        return self.decide(Mail(sender, None))

    def rcpt(self, address: bytes) -> Decision:
        return self.decide(Recipient(address))


def words(verdict: Decision) -> tuple[bool, list[bytes]]:
    return verdict.accepted, verdict.lines


class TestOwnChecks:
    """Without plugins."""

    def test_foreign_recipients_are_refused(self) -> None:
        policy = PluginPolicy()
        policy.mail()
        assert words(policy.rcpt(b"j@ours")) == (True, [reply.OK])
        assert words(policy.rcpt(b"j@foreign")) == (False, [reply.NO_RELAY])

    def test_a_bad_sender_is_refused_at_each_recipient_even_where_relaying_is_allowed(self) -> None:
        policy = PluginPolicy(RELAYCLIENT=b"")
        assert policy.mail(b"BAD@x").accepted
        assert words(policy.rcpt(b"j@ours")) == (False, [reply.BAD_SENDER])
        policy.mail(b"good@x")
        assert policy.rcpt(b"j@ours").accepted

    def test_a_relay_client_may_relay_and_its_suffix_is_appended(self) -> None:
        assert PluginPolicy(RELAYCLIENT=b"").rcpt(b"j@foreign").address is None
        assert PluginPolicy(RELAYCLIENT=b"@gate").rcpt(b"j@foreign").address == b"j@foreign@gate"

    def test_an_error_in_the_compiled_hosts_is_temporary_and_ends_the_session(self) -> None:
        def trouble(names: list[bytes]) -> bool:
            raise TemporaryFailure(b"damaged")

        verdict = SmtpPolicy(policy_config(is_more=trouble), ClientAuthority(CLIENT), bytes).decide(Recipient(b"a@x"))
        assert isinstance(verdict, Decision)
        assert (verdict.lines, verdict.close) == ([reply.NO_CONTROLS], True)


class TestReceived:
    """The header of the message."""

    @pytest.mark.parametrize(
        ("events", "first", "protocol"),
        [
            ([], b"from c.test (192.0.2.7)", b"SMTP"),
            ([Hello(b"C.TEST", False)], b"from c.test (192.0.2.7)", b"SMTP"),
            ([Hello(b"me", True)], b"from c.test (HELO me) (192.0.2.7)", b"ESMTP"),
            ([Hello(b"me", True), Hello(b"you", False)], b"from c.test (HELO you) (192.0.2.7)", b"SMTP"),
            # AUTH= counts only after a login, RFC 4954 section 5; then the user is known anyway.
            ([Mail(b"a@b", b"joe"), Mail(b"a@b", b"sue")], b"from c.test (192.0.2.7)", b"SMTP"),
        ],
    )
    def test_received_names_the_helo_of_the_client(
        self, events: list[SmtpEvent], first: bytes, protocol: bytes
    ) -> None:
        policy = PluginPolicy()
        for event in events:
            policy.decide(event)
        assert policy.decide(DATA).header == b"Received: %b\n  by mx.test with %b; NOW\n" % (first, protocol)

    def test_without_any_variables_everything_is_unknown(self) -> None:
        verdict = SmtpPolicy(policy_config(), ClientAuthority({}), lambda: b"NOW").decide(DATA)
        assert isinstance(verdict, Decision)
        assert verdict.header == b"Received: from unknown (unknown)\n  by unknown with SMTP; NOW\n"


class TestPlugins:
    """What plugins can do."""

    def test_plugins_run_in_order_until_one_refuses(self) -> None:
        policy = PluginPolicy(b"[mail]\none\ntwo\nthree\n", {b"two": b"E550 no"})
        assert words(policy.mail()) == (False, [b"550 no"])
        assert [name for name, _ in policy.run] == [b"one", b"two"]

    @pytest.mark.parametrize(("plugin_output", "lines"), [(b"R550 go", [b"550 go"]), (b"D", [])])
    def test_plugins_can_close_the_connection(self, plugin_output: bytes, lines: list[bytes]) -> None:
        verdict = PluginPolicy(b"[m]\np\n", {b"p": plugin_output}).mail()
        assert (verdict.accepted, verdict.lines, verdict.close) == (False, lines, True)

    def test_plugin_replies_precede_the_reply_of_the_server(self) -> None:
        policy = PluginPolicy(b"[m]\np\n", {b"p": b"P250-hello"})
        assert words(policy.mail()) == (True, [b"250-hello", reply.OK])

    def test_a_connection_can_be_refused_without_being_closed(self) -> None:
        verdict = PluginPolicy(b"[c]\np\n", {b"p": b"E554 go away"}).decide(CONNECTED)
        assert (verdict.accepted, verdict.lines, verdict.close) == (False, [b"554 go away"], False)

    def test_skipping_the_others_keeps_the_own_checks(self) -> None:
        policy = PluginPolicy(b"[r]\np\nq\n", {b"p": b"N"})
        assert words(policy.rcpt(b"x@foreign")) == (False, [reply.NO_RELAY])
        assert [name for name, _ in policy.run] == [b"p"]

    def test_a_recipient_plugin_can_skip_rcpthosts_but_a_sender_plugin_cannot(self) -> None:
        policy = PluginPolicy(b"[r]\np\n", {b"p": b"O"})
        assert policy.rcpt(b"x@foreign").accepted
        policy = PluginPolicy(b"[m]\np\n", {b"p": b"O"})
        assert policy.mail(b"bad@x").accepted
        assert words(policy.rcpt(b"x@foreign")) == (False, [reply.NO_RELAY])
        assert policy.rcpt(b"x@ours").accepted

    def test_a_plugin_can_end_the_chain(self) -> None:
        policy = PluginPolicy(b"[m]\np\n[r]\nq\n", {b"p": b"A", b"q": b"E550 never"})
        assert policy.mail().accepted
        assert policy.rcpt(b"x@ours").accepted

    def test_plugins_change_addresses_headers_and_variables(self) -> None:
        policy = PluginPolicy(
            b"[m]\np\n[r]\nq\n[d]\nr\n", {b"p": b"Cnew@x\nHX-One: 1\nSGOLD=1\nUTCPREMOTEIP", b"q": b"Cj@there"}
        )
        assert policy.mail().address == b"new@x"
        assert policy.rcpt(b"j@ours").address == b"j@there"
        assert policy.decide(DATA).header.endswith(b"NOW\nX-One: 1\n")
        environ = policy.run[-1][1]
        assert (environ[b"SMTPMAILFROM"], environ[b"SMTPRCPTTO"], environ[b"GOLD"]) == (b"new@x", b"j@there", b"1")
        assert b"TCPREMOTEIP" not in environ

    def test_a_variable_needs_a_name(self) -> None:
        policy = PluginPolicy(b"[m]\np\n", {b"p": b"S=x\nSNO\nU"})
        policy.mail()
        assert not {b"", b"NO"} & set(policy.client.environ())

    def test_plugins_can_allow_relaying(self) -> None:
        policy = PluginPolicy(b"[m]\np\n", {b"p": b"SRELAYCLIENT="})
        policy.mail()
        assert policy.rcpt(b"x@foreign").accepted

    def test_recipients_are_counted(self) -> None:
        policy = PluginPolicy(b"[r]\np\n")
        for address in (b"j@ours", b"x@foreign", b"k@ours"):
            policy.rcpt(address)
        reported = [
            (environ[b"SMTPRCPTCOUNT"], environ[b"SMTPRCPTCOUNTALL"], environ[b"SMTPRCPTHOSTSOK"])
            for _, environ in policy.run
        ]
        assert reported == [(b"0", b"1", b"1"), (b"1", b"2", b"0"), (b"1", b"3", b"1")]

    def test_an_error_can_wait_for_its_command_and_stays_until_reset(self) -> None:
        policy = PluginPolicy(b"[c]\np\n", {b"p": b"LM550 later\nLD554 last"})
        assert policy.decide(CONNECTED).accepted
        assert words(policy.mail()) == (False, [b"550 later"])
        assert words(policy.mail()) == (False, [b"550 later"])
        assert words(policy.decide(DATA)) == (False, [b"554 last"])
        policy.reception.reset()
        assert policy.mail().accepted

    @pytest.mark.parametrize(("last", "accepted"), [(b"N", True), (b"A", True), (b"O", True), (b"", False)])
    def test_the_final_instruction_of_a_plugin_overrides_its_deferred_error(self, last: bytes, accepted: bool) -> None:
        policy = PluginPolicy(b"[m]\np\n", {b"p": b"LM550 queued\n" + last})
        assert policy.decide(Mail(b"a@b", None)).accepted == accepted

    @pytest.mark.parametrize("again", [Hello(b"x", True, restarts=True), Mail(b"a@b", None, restarts=True)])
    def test_deferred_errors_end_with_the_transaction(self, again: SmtpEvent) -> None:
        policy = PluginPolicy(b"[r]\np\n[d]\nq\n", {b"p": b"HX-Rcpt: secret\nLD554 no"})
        policy.decide(Mail(b"a@b", None))
        policy.decide(Recipient(b"hidden@ours"))
        policy.decide(again)
        policy.decide(Mail(b"a@b", None))
        policy.plugin_outputs = {}
        policy.decide(Recipient(b"joe@ours"))
        assert policy.run[-1][1][b"SMTPRCPTCOUNTALL"] == b"1"
        assert policy.run[-1][1][b"SMTPRCPTCOUNT"] == b"0"
        verdict = policy.decide(DATA)
        assert verdict.accepted
        assert b"secret" not in verdict.header

    def test_deferred_errors_before_the_first_transaction_apply_to_it(self) -> None:
        policy = PluginPolicy(b"[c]\np\n", {b"p": b"HX-First: yes"})
        policy.decide(CONNECTED)
        policy.decide(Hello(b"x", True))
        policy.decide(Mail(b"a@b", None))
        policy.decide(Recipient(b"joe@ours"))
        assert b"X-First: yes\n" in policy.decide(DATA).header

    def test_a_plugin_that_cannot_run_is_a_temporary_refusal(self) -> None:
        policy = PluginPolicy(b"[m]\np\nq\n", {b"p": b"!can't execute"})
        assert words(policy.mail()) == (False, [b"451 qmail-spp failure: p: can't execute (#4.3.0)"])
        assert len(policy.run) == 1

    def test_the_hello_name_is_published(self) -> None:
        policy = PluginPolicy(b"[h]\np\n")
        policy.decide(Hello(b"me", True))
        assert policy.run[0][1][b"SMTPHELOHOST"] == b"me"


class TestAuthentication:
    """AUTH."""

    EVENT = AuthEvent(Credentials(b"plain", b"joe", b"pw"))

    def test_authentication_allows_relaying_and_is_in_the_header(self) -> None:
        policy = PluginPolicy()
        assert words(policy.decide(self.EVENT)) == (True, [b"235 ok, joe, go ahead (#2.0.0)"])
        assert policy.rcpt(b"x@foreign").accepted
        policy.decide(Hello(b"me", True))
        assert b"(joe@192.0.2.7)\n  by mx.test with ESMTPA;" in policy.decide(DATA).header

    def test_a_wrong_password_costs_time(self) -> None:
        policy = PluginPolicy()
        policy.checker = 1
        assert words(policy.decide(self.EVENT)) == (False, [reply.AUTH_FAILED])
        assert policy.pauses == [5.0]
        assert not policy.rcpt(b"x@foreign").accepted

    @pytest.mark.parametrize(
        ("outcome", "line"),
        [
            (CHECKER_CRASHED, reply.AUTH_CHILD_PROBLEM),
            (NO_CHILD, reply.AUTH_NO_CHILD),
            (111, reply.AUTH_CHILD_PROBLEM),
        ],
    )
    def test_a_checker_failure_is_no_wrong_password(self, outcome: int, line: bytes) -> None:
        policy = PluginPolicy()
        policy.checker = outcome
        assert words(policy.decide(self.EVENT)) == (False, [line])
        assert not policy.pauses

    def test_plugins_can_refuse_a_login(self) -> None:
        policy = PluginPolicy(b"[a]\np\n", {b"p": b"E535 vetoed"})
        assert words(policy.decide(self.EVENT)) == (False, [b"535 vetoed"])
        assert not policy.rcpt(b"x@foreign").accepted
        environ = policy.run[0][1]
        assert (environ[b"SMTPAUTHMETHOD"], environ[b"SMTPAUTHUSER"]) == (b"plain", b"joe")
