"""qmail-smtpd [checkprogram [arg...]]: receive mail from one SMTP client on descriptors 0 and 1.

Who the client is stands in the environment, as tcpserver, tcp-env and their kind put it there.  Where the resident
service takes clients over (smtphandover) it converses with this one, and the program awaits the end.
Exits: 0 after QUIT, 1 when the conversation ended in another way.  Source: smtp-server.md 4.1; qmail-smtpd(8).
"""

from eqmail_core.smtpd.qmail_smtpd import receive


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve one client."""
    return receive(argv[1:], environ)
