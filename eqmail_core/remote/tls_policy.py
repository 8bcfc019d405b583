"""The TLS policy towards other servers: what the control files, the DNS and the sender say; loads TLS only on use.

Source: delivery.md 5.6 (TLS client); RFC 8689 section 5 (TLS-Required).
"""

import os

from eqmail_core.control.controls import Controls
from eqmail_core.control.folders import ONLY_LISTED, PLAIN_HOSTS, TLS_HOSTS
from eqmail_core.dns.tlsa import NO_TLSA, tlsa_set
from eqmail_core.mail.domain_match import find_by_host
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.site.site import Site
from eqmail_core.tls.client_policy import ClientTlsFiles, tls_policy
from eqmail_core.tls.policy import TlsInputs, UnusableServer, decide

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from eqmail_core.dns.mx import MxCandidate, Search
    from eqmail_core.remote.plan import RemotePlan
    from eqmail_core.smtp.client import SmtpClient
    from eqmail_core.smtp.client_tls import ClientTlsContexts
    from eqmail_core.tls.client_policy import TlsPolicy
    from eqmail_core.tls.mta_sts import StsPolicy


def relaxes_tls(head: bytes) -> bool:
    """Return whether the header at the beginning of a message says TLS-Required: No."""
    for line in head.split(b"\n"):
        field = line.removesuffix(b"\r")
        if not field:
            break
        name, _, value = field.lower().partition(b":")
        if name.rstrip(b" \t") == b"tls-required" and value.strip(b" \t") == b"no":
            return True
    return False


def choose_policy(
    files: "TlsPolicy",
    candidate: "MxCandidate",
    plan: "RemotePlan",
    requires_tls: bool,
    sts: "StsPolicy | None",
    read_head: "Callable[[], bytes]",
) -> "Search[TlsPolicy | UnusableServer]":
    """Decide about one server; `files` is the policy of the control files, `read_head` reads the message.

    See `dns.mx` for how to run the search.  Where DNSSEC proves no address nothing is asked.
    """
    is_open = not files.demanded_by and (files.is_wanted or requires_tls)
    tlsa = (yield from tlsa_set(candidate, plan.route.port)) if is_open else NO_TLSA
    known = TlsInputs(plan.domain, candidate.name, files, candidate.is_listed_authentically, tlsa, sts, requires_tls)
    decision = decide(known)
    is_strict = isinstance(decision, UnusableServer) or not decision.may_be_plain
    if is_strict and not requires_tls and relaxes_tls(read_head()):
        known.relaxes_tls = True
        return decide(known)
    return decision


def policy_for(site: Site, host: bytes, is_implicit: bool) -> "TlsPolicy":
    """Return the TLS policy for the server `host`.

    Fails: TemporaryFailure if files cannot be read: a wrong file mode must not make protected mail unprotected.
    """
    home = os.fsencode(site.home)

    def exists(path: bytes) -> bool:
        try:
            os.stat(home + b"/" + path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            reason = os.strerror(error.errno or 0).encode()
            raise TemporaryFailure(b"TLS unable to look for %b: %b. (#4.3.0)" % (path, reason)) from error
        return True

    places = (os.fsencode(f"{site.layout.control}/{name}") for name in (TLS_HOSTS, PLAIN_HOSTS, ONLY_LISTED))
    return tls_policy(host, is_implicit, ClientTlsFiles(*places), exists)


def client_contexts(site: Site, controls: Controls) -> "ClientTlsContexts":
    """Create the TLS contexts of the client.  Fails: ControlError."""
    from eqmail_core.smtp.client_tls import ClientTlsContexts

    folder = site.layout.control
    for_all = b":".join(controls.tlsclientciphers or ()), f"{folder}/{Controls.tlsclientciphers.file}"
    special = controls.tlsdestciphers or {}

    def ciphers_for(host: bytes) -> tuple[bytes, str]:
        found = find_by_host(special, host)
        return for_all if found is None else (found, f"{folder}/{Controls.tlsdestciphers.file}")

    return ClientTlsContexts(site.home, f"{folder}/{Controls.clientcert.file}", ciphers_for)


def may_go_plain(client: "SmtpClient", tls: "TlsPolicy", falls_back: bool, has_password: bool) -> bool:
    """Whether a message may go without TLS after a failure: if allowed, and without password."""
    return client.has_broken_tls and falls_back and tls.may_be_plain and not has_password
