"""What the reception asks the world: each kind of errand, and what is sent back when it has been run.

A decision that cannot be made at once is a generator: it yields errands, is sent the outcome of each, and its value is
the Verdict.  Who serves a client knows how each kind is run (`net.errands_waiting`, `net.errands_on_loop`).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.dns import query as lookup
    from eqmail_core.dns.query import DnsAnswer
    from eqmail_core.filters.verdict import FilterPort, FilterQuery, FilterVerdict
    from eqmail_core.smtpd.policy.plugin_protocol import PluginResult
    from eqmail_core.smtpd.protocol.events import Decision

    RequestResult = PluginResult | FilterVerdict | list[DnsAnswer] | bytes | int | None
    """What an errand brings back; each kind says which of these."""

    PendingDecision = Generator["Request", RequestResult, Decision]
    """A decision in the making."""


CHECKER_S, PLUGIN_S = 60.0, 300.0
"""How long a password checker and a plugin may take; then they are ended, and that is trouble that may pass."""


class Request:
    """Something that the reception wants to be done before it decides."""

    __slots__ = ()


class RunPlugin(Request):
    """Run a plugin; brings back its PluginReport."""

    __slots__ = ("argv", "environ")

    def __init__(self, argv: list[bytes], environ: dict[bytes, bytes]) -> None:
        self.argv = argv
        self.environ = environ


class CheckPassword(Request):
    """Let the checkpassword program judge; brings back its exit code, or one of the troubles above."""

    __slots__ = ("credentials", "environ")

    def __init__(self, credentials: "Credentials", environ: dict[bytes, bytes]) -> None:
        self.credentials = credentials
        self.environ = environ


class LookupRecipient(Request):
    """Ask the delivering side about a recipient; brings back the letter of an outcome, b"" where nobody can tell."""

    __slots__ = ("recipient",)

    def __init__(self, recipient: bytes) -> None:
        self.recipient = recipient


class Delay(Request):
    """Do nothing for a while; brings back None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class QueryDns(Request):
    """Ask the DNS; brings back a list with an Answer for each question, in their order.

    `ahead`: the answers will be needed later, and the list is empty; who cannot do it now need not.
    """

    __slots__ = ("ahead", "questions")

    def __init__(self, questions: "list[lookup.DnsQuestion]", ahead: bool = False) -> None:
        self.questions = questions
        self.ahead = ahead


class AwaitEarlyTalker(Request):
    """Listen for a while; brings back 1 if the client spoke meanwhile, else 0."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class QueryFilter(Request):
    """Ask a filter; brings back its Opinion."""

    __slots__ = ("filter", "question")

    def __init__(self, filter: "FilterPort", question: "FilterQuery") -> None:
        self.filter = filter
        self.question = question
