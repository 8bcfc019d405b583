"""What no command can do on this host: records in DNS, and what an administrator does next.

Fails: never.
"""

import shutil

from eqmail_core.site.layout import DEFAULT_HOME
from eqmail_core.site.site import Site
from eqmail_setup.mail import certificates as keys
from eqmail_setup.mail.dns_zone import record_context
from eqmail_setup.network.records import zone_text
from eqmail_setup.quickstart.plan import MAILDIR, QuickstartPlan
from eqmail_setup.quickstart.preflight import addresses_of

# RFC 6186 and RFC 8314: where mail programs of people look.
_SRV = (("submissions", "smtps"), ("submission", "submission"))


def dns_records(plan: QuickstartPlan) -> str:
    """The records that a name server has to publish, in the form of a zone file."""
    ports = {service: port for service, _, port in addresses_of(plan.bundles)}
    found = {name: ports[service] for name, service in _SRV if service in ports}
    names = dict.fromkeys((plan.name, plan.domain or plan.name))
    return "\n".join(zone_text(record_context(plan.site, name, plan.name)._replace(ports=found)) for name in names)


def next_commands(plan: QuickstartPlan) -> list[tuple[str, str]]:
    """Commands, each with what it is for."""
    site, name = plan.site, plan.name
    parent = ".".join(name.split(".")[1:]) if name.count(".") > 1 else name
    domain = plan.domain or parent
    reads = "sending and reading" if plan.imap else "sending"
    found = [
        (f"mailbox add ann@{domain} --password", f"a mailbox, with a password for {reads}"),
        ("auth set NAME", "a password for an account of this host"),
        ("cert renew", f"once a month, from cron: {keys.DEFAULT_DAYS} days are soon over"),
        ("doctor", "when the records are published: what is still wrong"),
    ]
    if domain not in (name, plan.domain):
        found.insert(0, (f"domain add {domain} --reload", f"mail for people at {domain}"))
        found.insert(1, (f"dkim generate {domain}", f"signatures for mail of people at {domain}"))
    if not plan.imap:
        found.insert(-2, ("gen-dovecot --help", "reading mail by IMAP and POP3"))
    if plan.target == MAILDIR:
        found.insert(0, ("alias add root NAME --replace", "who gets mail for root and postmaster"))
    commands = [(f"{_program(site)} {words}", purpose) for words, purpose in found]
    if plan.bundles:
        return commands
    address = "127.0.0.1:2525" if site.single_user else "0.0.0.0:25"
    return [(f"{_program(site)} run --smtp {address}", "starts the services"), *commands]


def _program(site: Site) -> str:
    """How the command is called for this installation."""
    if site.home == DEFAULT_HOME:
        return "eqmail" if shutil.which("eqmail") else f"{site.bin}/eqmail"
    return f"{site.bin}/eqmail"
