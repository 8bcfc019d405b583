"""The requests of the SMTP policy to its environment, and the type of each result.

A decision that cannot be made at once is a generator.  It yields requests, is sent the result of each, and returns
the Decision.  The session's driver runs the requests (`smtpd.server.blocking_requests`, `async_requests`).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from eqmail_core.auth.credentials import Credentials
    from eqmail_core.auth.scram import ScramKeys
    from eqmail_core.dns import query as lookup
    from eqmail_core.dns.mx import Search
    from eqmail_core.dns.query import DnsAnswer
    from eqmail_core.filters.verdict import FilterPort, FilterQuery, FilterVerdict
    from eqmail_core.mail_auth.message_check import CheckedMessage
    from eqmail_core.smtpd.policy.plugin_protocol import PluginResult
    from eqmail_core.smtpd.protocol.events import Decision

    RequestResult = PluginResult | FilterVerdict | CheckedMessage | list[DnsAnswer] | ScramKeys | bytes | int | None
    """The result of a request; each class of request states its type."""

    PendingDecision = Generator["Request", RequestResult, Decision]
    """A pending decision."""


CHECKER_S, PLUGIN_S = 60.0, 300.0
"""Time limits of a password checker and a plugin in seconds.

A child that exceeds it is killed: a temporary error.
"""


SEARCH_S = 10.0
"""Time limit of a search in the DNS about one message, in seconds."""


class Request:
    """An action that must run before the policy can decide."""

    __slots__ = ()


class RunPlugin(Request):
    """Run a plugin; the result is its PluginResult."""

    __slots__ = ("argv", "environ")

    def __init__(self, argv: list[bytes], environ: dict[bytes, bytes]) -> None:
        self.argv = argv
        self.environ = environ


class CheckPassword(Request):
    """Run the checkpassword program.

    The result is its exit code, or a problem of `auth.checkpassword`.
    """

    __slots__ = ("credentials", "environ")

    def __init__(self, credentials: "Credentials", environ: dict[bytes, bytes]) -> None:
        self.credentials = credentials
        self.environ = environ


class LookupKeys(Request):
    """Look up the SCRAM keys of a login; the result is its ScramKeys, None if the file cannot be read."""

    __slots__ = ("user",)

    def __init__(self, user: bytes) -> None:
        self.user = user


class LookupRecipient(Request):
    """Look up a recipient on the delivering side.

    The result is an outcome letter, b"" if unknown.
    """

    __slots__ = ("recipient",)

    def __init__(self, recipient: bytes) -> None:
        self.recipient = recipient


class CheckGreylist(Request):
    """Look up whether a sender is known or has waited, and note its attempt unless it `only_looks`.

    The result is PASSED or DEFERRED of policy/greylisting. `origin`: network of the client, or domain that SPF passed.
    """

    __slots__ = ("delay_s", "only_looks", "origin", "path", "recipient", "sender")

    def __init__(
        self, path: str, origin: bytes, sender: bytes, recipient: bytes, delay_s: int, only_looks: bool = False
    ) -> None:
        self.path = path
        self.origin = origin
        self.sender = sender
        self.recipient = recipient
        self.delay_s = delay_s
        self.only_looks = only_looks


class Delay(Request):
    """Wait for `seconds`; the result is None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class QueryDns(Request):
    """Query the DNS; the result is a list with one DnsAnswer per question, in order.

    `ahead`: the answers are needed later, and the list is empty; a runner that cannot prefetch may skip it.
    """

    __slots__ = ("ahead", "questions")

    def __init__(self, questions: "list[lookup.DnsQuestion]", ahead: bool = False) -> None:
        self.questions = questions
        self.ahead = ahead


class RunSearch(Request):
    """Run a search in the DNS to its end, within `SEARCH_S`; the result is what it found.

    `ahead`: its answers are needed later; the result is None, and a runner that cannot prefetch may skip it.
    """

    __slots__ = ("ahead", "search")

    def __init__(self, search: "Search[Any]", ahead: bool = False) -> None:
        self.search = search
        self.ahead = ahead


class AwaitEarlyTalker(Request):
    """Wait for early input; the result is 1 if the client spoke meanwhile, else 0."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class QueryFilter(Request):
    """Query a filter; the result is its FilterVerdict."""

    __slots__ = ("filter", "question")

    def __init__(self, filter: "FilterPort", question: "FilterQuery") -> None:
        self.filter = filter
        self.question = question
