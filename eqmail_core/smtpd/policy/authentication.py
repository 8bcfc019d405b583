"""Whether the credentials of a client are accepted.

Source: smtp-server.md 4.6 (qmail-smtpd.c).
"""

from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.smtpd.policy import smtpplugins as sections
from eqmail_core.smtpd.policy.requests import CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE, CheckPassword, Delay
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.smtpd.policy.plugins import PluginSession
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult
    from eqmail_core.smtpd.protocol.sasl import Credentials

FAILED_AUTH_PAUSE_S = 5.0
"""How long a client waits after wrong credentials."""

_TROUBLE = {
    CHECKER_CRASHED: reply.AUTH_CHILD_TROUBLE,
    NO_CHILD: reply.AUTH_NO_CHILD,
    NO_PIPE: reply.AUTH_NO_PIPE,
    NO_WRITE: reply.AUTH_NO_WRITE,
    EXIT_TEMPORARY: reply.AUTH_CHILD_TROUBLE,
}


def is_refusal(outcome: "RequestResult") -> bool:
    """Tell whether the checker has looked at a password and found it wrong: 1 as a rule, other codes with some."""
    return outcome != 0 and outcome not in _TROUBLE


def authenticate(
    credentials: "Credentials", advisers: "PluginSession", environ: dict[bytes, bytes]
) -> "PendingDecision":
    """Let the password checker decide, and then the plugins; one that is accepted may relay, as `environ` says then."""
    outcome = yield CheckPassword(credentials, environ)
    if outcome in _TROUBLE:
        return Decision(False, [_TROUBLE[outcome]])
    if outcome != 0:
        yield Delay(FAILED_AUTH_PAUSE_S)
        return Decision(False, [reply.AUTH_FAILED])
    lines: list[bytes] = []
    if advisers.plugins is not None:
        environ[b"SMTPAUTHMETHOD"] = credentials.method
        environ[b"SMTPAUTHUSER"] = credentials.user
        heard = yield from advisers.run(sections.AUTH)
        if not heard.accepted:
            return heard.verdict()
        lines = heard.lines
    environ[b"TCPREMOTEINFO"] = credentials.user
    environ[b"RELAYCLIENT"] = b""
    return Decision(True, [*lines, reply.authenticated(credentials.user)])
