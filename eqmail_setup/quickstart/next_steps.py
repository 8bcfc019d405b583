"""What no command can do on this host: records in DNS, and what an administrator does next.

Fails: never.
"""

import shutil

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
    return zone_text(record_context(plan.site, plan.name, plan.name)._replace(ports=found))


def next_commands(plan: QuickstartPlan) -> list[tuple[str, str]]:
    """Commands, each with what it is for."""
    site, name = plan.site, plan.name
    domain = ".".join(name.split(".")[1:]) if name.count(".") > 1 else name
    program = "eqmail" if shutil.which("eqmail") else f"{site.bin}/eqmail"
    found = [
        (f"domain add {domain} --reload", f"mail for people at {domain}"),
        ("user passwd NAME", "who may send from elsewhere, with a password (ports 587, 465)"),
        ("user add NAME --ids UID:GID", "mail for people without an account here"),
        ("cert renew", f"once a month, from cron: {keys.DEFAULT_DAYS} days are soon over"),
        ("doctor", "when the records are published: what is still wrong"),
    ]
    if domain != name:
        found.insert(1, (f"dkim generate {domain}", f"signatures for mail of people at {domain}"))
    if plan.target == MAILDIR:
        found.insert(0, ("alias add root NAME --replace", "who gets mail for root and postmaster"))
    commands = [(f"{program} {words}", purpose) for words, purpose in found]
    return commands if plan.bundles else [(f"{program} run --smtp 0.0.0.0:25", "starts the services"), *commands]
