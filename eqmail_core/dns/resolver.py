"""Resolvers for mail: dnspython with a cache, a blocking and an asynchronous version.

Both versions interpret answers by the same functions. Identical questions are asked once at a time.
The AD bit counts only from name servers whose DNSSEC validation is trusted (dns/validation.py).
A truncated answer is fetched again by TCP. A server without EDNS is asked again without it.
dnspython is imported with the first resolver, because most program runs need none.

Remote name servers are untrusted: the stored part of an answer and the time of a search are bounded.
At least one question of each search is always in progress, whatever other searches wait for.

Fails: never; any error is an answer with `is_temporary`, except a name that does not exist.
Source: delivery.md 5.6 (DNS); RFC 1035, RFC 2181 section 5.2, RFC 2308 (negative answers).
"""

from eqmail_core.dns.answers import name_of, store_answer
from eqmail_core.dns.cache import DnsCache
from eqmail_core.dns.query import NO_ANSWER, NO_SUCH_NAME, DnsAnswer
from eqmail_core.dns.validation import TRUST_NONE, ValidationTrust

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    import dns.asyncresolver
    import dns.name
    import dns.resolver

    from eqmail_core.dns.query import DnsQuestion

TIMEOUT_S = 20.0
"""Time limit of one question, all servers and attempts together, in seconds."""

TRY_S = 3.0
"""Time limit of one attempt at one server, in seconds."""

SEARCH_S = 60.0
"""Time limit of all questions of one search together, in seconds."""

MAX_CONCURRENT = 256
"""Most questions that are sent to the servers at a time."""

MAX_BESIDE = 64
"""Most questions in progress of all searches together, without the first one of each."""

MAX_OF_A_SEARCH = 8
"""Most questions of one search in progress at a time."""

RESOLV_CONF = "/etc/resolv.conf"

_PAYLOAD = 1232


class BlockingResolver:
    """A blocking resolver; `nameservers` and `port` replace those in /etc/resolv.conf."""

    def __init__(
        self,
        nameservers: "Sequence[str]" = (),
        port: int = 53,
        timeout_s: float = TIMEOUT_S,
        trust: ValidationTrust = TRUST_NONE,
    ) -> None:
        import dns.resolver

        self._cache = DnsCache()
        self._trust = trust
        self._resolver = dns.resolver.Resolver(configure=False)
        self._ready = _configure(self._resolver, nameservers, port, timeout_s)

    def answer(self, question: "DnsQuestion", within_s: float | None = None) -> DnsAnswer:
        """Return the answer to one question.

        It is temporary after `within_s` seconds, or after the resolver's own timeout if that is shorter.
        """
        question = _normalized(question)
        known = self._cache.get(question)
        name = name_of(question[1])
        if known is not None or name is None:
            return known or NO_SUCH_NAME
        if not self._ready:
            return NO_ANSWER
        had_edns = self._resolver.edns >= 0
        found = self._resolve(name, question[0], within_s)
        if had_edns and _knows_no_edns(found):
            self._resolver.use_edns(-1)
            found = self._resolve(name, question[0], within_s)
        _prefer_server(self._resolver, found)
        return store_answer(self._cache, question, found, self._trust)

    def _resolve(self, name: "dns.name.Name", kind: str, within_s: float | None) -> "dns.resolver.Answer | Exception":
        lifetime = self._resolver.lifetime if within_s is None else min(self._resolver.lifetime, within_s)
        try:
            return self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False, lifetime=lifetime)
        except Exception as error:
            # Any error, of a server's answer or of dnspython, is temporary, so that no mail is lost.
            return error


class AsyncResolver:
    """A resolver on an event loop, with many questions at a time; see BlockingResolver."""

    def __init__(self, nameservers: "Sequence[str]" = (), port: int = 53, timeout_s: float = TIMEOUT_S) -> None:
        import asyncio

        import dns.asyncresolver

        self._cache = DnsCache()
        self._asked: dict[DnsQuestion, asyncio.Task[DnsAnswer]] = {}
        self._places = asyncio.Semaphore(MAX_CONCURRENT)
        self._beside = 0
        self._where = (nameservers, port, timeout_s)
        self._trust = TRUST_NONE
        self._asyncio = asyncio
        self._new = dns.asyncresolver.Resolver
        self.configure()

    def configure(self) -> None:
        """Read /etc/resolv.conf again and clear the cache."""
        self._cache.clear()
        self._resolver = self._new(configure=False)
        self._ready = _configure(self._resolver, *self._where)

    def set_trust(self, trust: ValidationTrust) -> None:
        """Trust these name servers to validate; a change clears the cache."""
        if trust != self._trust:
            self._trust = trust
            self.configure()

    async def answers(self, questions: "list[DnsQuestion]", within_s: float = SEARCH_S) -> list[DnsAnswer]:
        """Return the answers to `questions` in order; after `within_s` seconds they are temporary."""
        questions = [_normalized(question) for question in questions]
        found = {question: answer for question in questions if (answer := self._cache.get(question)) is not None}
        unknown = iter(left := [question for question in dict.fromkeys(questions) if question not in found])
        if left:

            async def ask() -> None:
                for question in unknown:
                    found[question] = await self._once(question)

            beside = max(0, min(len(left), MAX_OF_A_SEARCH, 1 + MAX_BESIDE - self._beside) - 1)
            self._beside += beside
            asking = [self._asyncio.ensure_future(ask()) for _ in range(1 + beside)]
            try:
                done, _ = await self._asyncio.wait(asking, timeout=within_s)
                for task in done:
                    task.result()
            finally:
                self._beside -= beside
                for task in asking:
                    task.cancel()
        return [found.get(question, NO_ANSWER) for question in questions]

    def _once(self, question: "DnsQuestion") -> "asyncio.Future[DnsAnswer]":
        """Return the answer to a question that other searches may share.

        Cancelling one search does not disturb the others.
        """
        task = self._asked.get(question)
        if task is None:
            task = self._asyncio.get_running_loop().create_task(self._ask(question))
            self._asked[question] = task
            task.add_done_callback(lambda _: self._asked.pop(question, None))
        return self._asyncio.shield(task)

    async def _ask(self, question: "DnsQuestion") -> DnsAnswer:
        known = self._cache.get(question)
        name = name_of(question[1])
        if known is not None or name is None:
            return known or NO_SUCH_NAME
        if not self._ready:
            return NO_ANSWER
        async with self._places:
            had_edns = self._resolver.edns >= 0
            found = await self._resolve(name, question[0])
            if had_edns and _knows_no_edns(found):
                self._resolver.use_edns(-1)
                found = await self._resolve(name, question[0])
        _prefer_server(self._resolver, found)
        return store_answer(self._cache, question, found, self._trust)

    async def _resolve(self, name: "dns.name.Name", kind: str) -> "dns.resolver.Answer | Exception":
        try:
            return await self._resolver.resolve(name, kind, raise_on_no_answer=False, search=False)
        except Exception as error:
            # As in BlockingResolver.
            return error


def preload() -> None:
    """Import all modules that lookups need, before the process drops privileges."""
    from importlib import import_module

    import dns.asyncbackend

    for module in (
        "ANY.CNAME",
        "ANY.MX",
        "ANY.OPT",
        "ANY.SOA",
        "ANY.NS",
        "ANY.PTR",
        "ANY.TLSA",
        "ANY.TXT",
        "IN.A",
        "IN.AAAA",
    ):
        import_module(f"dns.rdtypes.{module}")
    import_module("dns.asyncresolver")
    dns.asyncbackend.set_default_backend("asyncio")


def _configure(
    resolver: "dns.resolver.BaseResolver", nameservers: "Sequence[str]", port: int, timeout_s: float
) -> bool:
    """Set the name servers of a resolver; return False if the system has none configured."""
    import dns.exception
    import dns.flags

    try:
        if nameservers:
            resolver.nameservers = list(nameservers)
            resolver.port = port
        else:
            resolver.read_resolv_conf(RESOLV_CONF)
    except (OSError, ValueError, dns.exception.DNSException):
        return False
    resolver.use_edns(0, 0, _PAYLOAD)
    # The AD bit in a question asks for it in the answer (RFC 6840 section 5.7), without the signatures.
    resolver.set_flags(dns.flags.RD | dns.flags.AD)
    resolver.timeout = min(TRY_S, timeout_s)
    resolver.lifetime = timeout_s
    return True


def _knows_no_edns(found: "dns.resolver.Answer | Exception") -> bool:
    """Return whether a server's refusal means that it lacks EDNS (RFC 6891 section 7)."""
    import dns.message
    import dns.rcode
    import dns.resolver

    if not isinstance(found, dns.resolver.NoNameservers | dns.resolver.LifetimeTimeout):
        return False
    refusals = {dns.rcode.FORMERR, dns.rcode.NOTIMP}
    errors = found.kwargs.get("errors") or ()
    return any(isinstance(it[4], dns.message.Message) and it[4].rcode() in refusals for it in errors)


def _prefer_server(resolver: "dns.resolver.BaseResolver", found: "dns.resolver.Answer | Exception") -> None:
    """Move the server that answered to the front: a dead one costs its timeout only once."""
    server = None if isinstance(found, Exception) else found.nameserver
    servers = resolver.nameservers
    if server is not None and server in servers[1:]:
        resolver.nameservers = [server, *(it for it in servers if it != server)]


def _normalized(question: "DnsQuestion") -> "DnsQuestion":
    return question[0], question[1].lower()
