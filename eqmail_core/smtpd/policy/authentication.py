"""Decide whether a client's credentials are accepted.

Source: smtp-server.md 4.6 (qmail-smtpd.c).
"""

from eqmail_core.auth.checkpassword import CHECKER_CRASHED, NO_CHILD, NO_PIPE, NO_WRITE
from eqmail_core.outcome import EXIT_TEMPORARY
from eqmail_core.smtpd.policy import plugin_sections as sections
from eqmail_core.smtpd.policy.requests import CheckPassword, Delay, LookupKeys
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.events import Decision, KeysFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.smtpd.policy.authority import ClientAuthority
    from eqmail_core.smtpd.policy.plugins import PluginSession
    from eqmail_core.smtpd.policy.requests import PendingDecision, RequestResult

FAILED_AUTH_PAUSE_S = 5.0
"""Delay after wrong credentials, in seconds."""

_PROBLEM = {
    CHECKER_CRASHED: reply.AUTH_CHILD_PROBLEM,
    NO_CHILD: reply.AUTH_NO_CHILD,
    NO_PIPE: reply.AUTH_NO_PIPE,
    NO_WRITE: reply.AUTH_NO_WRITE,
    EXIT_TEMPORARY: reply.AUTH_CHILD_PROBLEM,
}


def is_refusal(outcome: "RequestResult") -> bool:
    """Whether the checker found a password wrong: exit code 1, or others with some checkers."""
    return outcome != 0 and outcome not in _PROBLEM


def look_up_keys(user: bytes) -> "PendingDecision":
    """Find the keys with which a login proves itself."""
    keys = yield LookupKeys(user)
    if keys is None:
        return Decision(False, [reply.AUTH_CHILD_PROBLEM])
    return KeysFound(keys)  # type: ignore[arg-type]  # the result of this request


def authenticate(credentials: "Credentials", plugins: "PluginSession", client: "ClientAuthority") -> "PendingDecision":
    """Let the password checker decide, then the plugins; a client that is known may relay."""
    outcome = yield CheckPassword(credentials, client.environ())
    if outcome in _PROBLEM:
        return Decision(False, [_PROBLEM[outcome]])
    if outcome != 0:
        yield Delay(FAILED_AUTH_PAUSE_S)
        return Decision(False, [reply.AUTH_FAILED])
    lines: list[bytes] = []
    if plugins.plugins is not None:
        client.set_variable(b"SMTPAUTHMETHOD", credentials.method)
        client.set_variable(b"SMTPAUTHUSER", credentials.user)
        verdict = yield from plugins.run(sections.AUTH)
        if not verdict.accepted:
            return verdict.verdict()
        lines = verdict.lines
    client.logged_in(credentials)
    return Decision(True, [*lines, reply.authenticated(credentials.user)])
