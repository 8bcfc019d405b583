"""Which recipients are looked up, and as what."""

import pytest

from eqmail_core.queue.routing import Routes
from eqmail_core.smtpd.policy.recipient_lookup import RecipientCheck
from eqmail_core.smtpd.policy.requests import LookupRecipient
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision, Mail, Recipient
from tests.unit.smtpd.test_decisions import CLIENT, policy_config

ROUTES = Routes(b"here", [b"here", b"a.test", b"b.a.test"], [b"here"], {b"virtual.test": b"joe-v", b"out.test": b""})


@pytest.mark.parametrize(
    ("entries", "recipient", "wanted"),
    [
        ([b"*"], b"joe@A.TEST", b"joe@A.TEST"),
        ([b"*"], b"joe", b"joe@here"),
        ([b"*"], b"joe@virtual.test", b"joe-v-joe@virtual.test"),
        ([b"*"], b"joe@out.test", None),
        ([b"*"], b"joe@foreign.test", None),
        ([b"*"], b"joe%a.test@here", b"joe@a.test"),
        ([b"*"], b"jo\0e@here", None),
        ([b"*", b"!A.test"], b"joe@a.test", None),
        ([b"*", b"!a.test"], b"joe@b.a.test", b"joe@b.a.test"),
        ([b"*", b"!.a.test"], b"joe@b.a.test", None),
        ([b".a.test", b"!b.a.test"], b"joe@b.a.test", None),
        ([b".A.test"], b"joe@b.a.test", b"joe@b.a.test"),
        ([b"a.test"], b"joe@b.a.test", None),
        ([b"!*", b"a.test"], b"joe@a.test", b"joe@a.test"),
    ],
)
def test_the_most_specific_entry_counts(entries: list[bytes], recipient: bytes, wanted: bytes | None) -> None:
    assert RecipientCheck(entries, ROUTES).wanted(recipient) == wanted


class LookupPolicy:
    """A reception whose recipients are looked up."""

    def __init__(self, letter: bytes, plugins: bytes | None = None, **variables: bytes) -> None:
        from eqmail_core.smtpd.policy.authority import ClientAuthority
        from eqmail_core.smtpd.policy.decisions import SmtpPolicy

        settings = policy_config(plugins)
        settings.recipient_check = RecipientCheck([b"*"], Routes(b"ours", [b"ours"]))
        self.letter = letter
        self.asked: list[bytes] = []
        environ = CLIENT | {name.encode(): value for name, value in variables.items()}
        self.reception = SmtpPolicy(settings, ClientAuthority(environ), lambda: b"NOW")
        self.reception.decide(Mail(b"a@b", None))

    def rcpt(self, address: bytes) -> Decision:
        decision = self.reception.decide(Recipient(address))
        if isinstance(decision, Decision):
            return decision
        outcome = None
        while True:
            try:
                job = decision.send(outcome)
            except StopIteration as end:
                assert isinstance(end.value, Decision)
                return end.value
            assert isinstance(job, LookupRecipient)
            self.asked.append(job.recipient)
            outcome = self.letter


@pytest.mark.parametrize(
    ("letter", "line"), [(b"K", reply.OK), (b"", reply.OK), (b"D", reply.NO_MAILBOX), (b"Z", reply.MAILBOX_AWAY)]
)
def test_the_result_letter_decides(letter: bytes, line: bytes) -> None:
    policy = LookupPolicy(letter)
    verdict = policy.rcpt(b"joe@ours")
    assert (verdict.lines, verdict.accepted, policy.asked) == ([line], line == reply.OK, [b"joe@ours"])
    assert policy.reception._accepted == (line == reply.OK)


def test_no_lookup_for_refused_clients_and_for_relayed_mail() -> None:
    policy = LookupPolicy(b"D")
    assert policy.rcpt(b"joe@foreign").lines == [reply.NO_RELAY]
    assert LookupPolicy(b"D", RELAYCLIENT=b"").rcpt(b"joe@foreign").accepted
    assert LookupPolicy(b"D", RELAYCLIENT=b"@gate").rcpt(b"joe@ours").accepted
    assert not policy.asked


def test_relay_clients_are_checked_too() -> None:
    assert LookupPolicy(b"D", RELAYCLIENT=b"").rcpt(b"joe@ours").lines == [reply.NO_MAILBOX]
