"""qmail-qmqpc: hand the message on descriptor 0, with its envelope on descriptor 1, to a QMQP server.

It can replace qmail-queue.  Exits: see queue/format/exit_codes.py; 55 without servers.
Source: smtp-server.md 4.11; qmail-qmqpc(8).
"""

import os

from eqmail_core.control.setting import ControlError
from eqmail_core.mail.envelope import Envelope
from eqmail_core.qmtp.qmqp_client import NO_SERVERS, hand_over
from eqmail_core.queue.format import exit_codes as q
from eqmail_core.queue.format.envelope import scan_envelope
from eqmail_core.system.files import read_all
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.text.framing import netstring


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Hand over one message."""
    try:
        site = read_site(environ)
        os.chdir(site.home)
    except (OSError, ValueError):
        return q.NO_HOME
    try:
        servers = read_controls(site, environ).qmqpservers
    except ControlError:
        return NO_SERVERS
    if not servers:
        return NO_SERVERS
    try:
        message, envelope = read_all(0), read_all(1)
    except OSError:
        return q.READ_ERROR
    except MemoryError:
        return q.NO_MEMORY
    code, end = scan_envelope(envelope)
    if code != q.OK:
        return code
    found = Envelope.parse(envelope[:end])
    parts = (message, found.sender, *found.recipients)
    return hand_over(servers, netstring(b"".join([netstring(part) for part in parts])))
