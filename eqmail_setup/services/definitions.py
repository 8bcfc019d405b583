"""What can be run as a service: the MTA, and the servers that take mail or give it out; one row each.

Source: programs.md 1.2, 1.4, 1.7.
"""

import os
from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.text.listen_address import ROLES

MTA = "mta"
SUBMISSION_PORTS = "SUBMISSIONPORT"
SMTP_PROGRAM, OWN_CHECKER = "qmail-smtpd", "qmail-chkpw"


class ServiceDefinition(NamedTuple):
    """One service. `resident`: the SMTP service below qmail-start can serve it, too, in the role `listener`.

    `name` is its name in commands, `daemon` the name of its process; `programs` start each other in this order,
    `checker` is the usual checkpassword program between them; `role` whose account serves, "" for root.
    `needs_certificate`: it takes passwords under TLS only.
    """

    name: str
    daemon: str
    title: str
    port: int
    programs: tuple[str, ...]
    role: str = "qmaild"
    resident: bool = False
    checker: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    listener: str = ""
    needs_certificate: bool = False

    @property
    def tls(self) -> bool:
        """Whether clients speak TLS from the first byte."""
        return ROLES[self.listener].is_tls


# Passwords, except the digests of CRAM-MD5, are accepted under TLS only.
_CAREFUL = ("TLSREQUIRED", "1")
_PWRAP = "{bin}/qmail-pwrap /bin/true"
SERVICES = {
    offer.name: offer
    for offer in (
        ServiceDefinition(MTA, "send", "mail transfer agent", 0, ("qmail-start",), environment=(_CAREFUL,)),
        ServiceDefinition("smtp", "smtpd", "SMTP server", 25, (SMTP_PROGRAM,), resident=True, environment=(_CAREFUL,)),
        ServiceDefinition(
            "smtps",
            "smtpsd",
            "SMTP server for submission inside TLS",
            465,
            (SMTP_PROGRAM,),
            resident=True,
            checker=_PWRAP,
            environment=(("SMTPS", ""), (SUBMISSION_PORTS, "{port}"), _CAREFUL),
            listener="submissions",
        ),
        ServiceDefinition(
            "submission",
            "submission",
            "SMTP server for submission",
            587,
            (SMTP_PROGRAM,),
            resident=True,
            checker=_PWRAP,
            environment=((SUBMISSION_PORTS, "{port}"), _CAREFUL),
            listener="submission",
        ),
        ServiceDefinition("qmtp", "qmtpd", "QMTP server", 209, ("qmail-qmtpd",)),
        ServiceDefinition(
            "pop3",
            "pop3d",
            "POP3 server",
            110,
            ("qmail-popup", "qmail-pop3d"),
            role="",
            checker="{bin}/qmail-chkpw -m",
            environment=(_CAREFUL,),
            needs_certificate=True,
        ),
    )
}


def missing_programs(definition: ServiceDefinition, site: Site, root: str = "") -> list[str]:
    """Paths that a service needs and the installation does not have."""
    needed = [f"{site.bin}/{program}" for program in definition.programs]
    if definition.tls or definition.needs_certificate:
        needed.append(f"{site.control}/{Controls.servercert.file}")
    return [path for path in needed if not os.path.exists(f"{root.rstrip('/')}{path}")]
