"""What the doctor asks of DNS: whether other hosts find this one, and have reason to trust its mail.

Each name is asked about by itself: one that DNS gives no answer for is one finding, and the others are looked at.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_setup.diagnostics.finding import ERROR, NOTE, WARNING, Finding
from eqmail_setup.mail import certificates
from eqmail_setup.network.dns import DnsLookupFailed, names_of, query

MAX_DOMAINS = 20
"""Domains that are asked about."""

MAX_SILENT = 3
"""Names without an answer after which no more is asked: then it is the name server that is silent."""


def check_dns(site: Site) -> Iterator[Finding]:
    """Whether host and domains have the records that other servers look for."""
    controls = read_controls(site)
    if controls.me is None:
        return
    me = os.fsdecode(controls.me)
    virtual = [key for key in controls.virtualdomains or {} if key and b"@" not in key and not key.startswith(b".")]
    domains = dict.fromkeys(map(os.fsdecode, [*(controls.locals or []), *virtual]))
    questions: list[Callable[[], Iterator[Finding]]] = [lambda: _host(me), lambda: _tlsa(site, me)]
    for name in list(domains)[:MAX_DOMAINS]:
        questions += [partial(_domain, name), partial(_transport, name)]
    silent = 0
    for ask in questions:
        try:
            yield from ask()
        except DnsLookupFailed as silence:
            yield Finding("dns.unanswered", WARNING, silence.text, "check the name servers in /etc/resolv.conf")
            silent += 1
            if silent >= MAX_SILENT:
                return


def _host(me: str) -> Iterator[Finding]:
    own = [*query(me, "A"), *query(me, "AAAA")]
    if not own:
        yield Finding("dns.address", ERROR, f"{me}: no A or AAAA record", "publish one; many servers demand it")
    for address in own:
        found = names_of(address)
        if not any(address in (*query(name, "A"), *query(name, "AAAA")) for name in found):
            fact = f"{address}: {', '.join(found) or 'no name'} does not lead back to it (PTR)"
            yield Finding("dns.reverse", WARNING, fact, f"ask your provider to name {address} {me}")


def _tlsa(site: Site, me: str) -> Iterator[Finding]:
    """A TLSA record of another key keeps the mail of servers with DANE away."""
    published = [text for text in query(f"_25._tcp.{me}", "TLSA") if text.startswith("3 1 1 ")]
    path = f"{site.home}/{certificates.path_in(site)}"
    content = read_file(path) if published and os.access(path, os.R_OK) else None
    if not content:
        return
    try:
        wanted = certificates.read(content).tlsa
    except ValueError:
        return  # a finding of another check
    if not any(text.split(" ", 3)[3].replace(" ", "").lower() == wanted for text in published):
        fact = f"_25._tcp.{me}: no TLSA record is that of the certificate, so servers that check it send no mail"
        yield Finding("dns.tlsa", ERROR, fact, f"publish TLSA 3 1 1 {wanted}")


def _transport(domain: str) -> Iterator[Finding]:
    """Policies and reports about TLS: what is published has to be usable."""
    policies = [text for text in query(f"_mta-sts.{domain}", "TXT") if text.lower().startswith("v=stsv1")]
    host = f"mta-sts.{domain}"
    if policies and not [*query(host, "A"), *query(host, "AAAA")]:
        fact = f"_mta-sts.{domain}: says that there is a policy, and {host} has no address"
        yield Finding("dns.mta-sts", WARNING, fact, f"publish the address of a web server for {host}")
    reports = [text for text in query(f"_smtp._tls.{domain}", "TXT") if text.lower().startswith("v=tlsrptv1")]
    if len(reports) > 1 or any("rua=" not in text.lower() for text in reports):
        fact = f"_smtp._tls.{domain}: is no single record with an address for reports (TLSRPT)"
        yield Finding("dns.tlsrpt", WARNING, fact, f'publish one: "v=TLSRPTv1; rua=mailto:postmaster@{domain}"')


def _domain(domain: str) -> Iterator[Finding]:
    exchangers = query(domain, "MX")
    if not exchangers and not [*query(domain, "A"), *query(domain, "AAAA")]:
        yield Finding("dns.mx", ERROR, f"{domain}: no MX record and no address", f"publish an MX for {domain}")
    for record in exchangers:
        name = record.split()[-1]
        if name != "." and not [*query(name, "A"), *query(name, "AAAA")]:
            yield Finding("dns.mx-address", ERROR, f"{domain}: its MX {name} has no address", f"publish one for {name}")
    if not [text for text in query(domain, "TXT") if text.lower().startswith("v=spf1")]:
        suggestion = f'publish TXT "v=spf1 mx -all" for {domain}, with all hosts that send its mail'
        yield Finding("dns.spf", WARNING, f"{domain}: publishes no SPF", suggestion)
    if not [text for text in query(f"_dmarc.{domain}", "TXT") if text.lower().startswith("v=dmarc1")]:
        suggestion = f'publish TXT "v=DMARC1; p=none" for _dmarc.{domain} or its organisational domain'
        yield Finding("dns.dmarc", NOTE, f"{domain}: publishes no DMARC policy", suggestion)
