"""The look-up process: runs as qmailp and finds the account that owns a local part.

    spawner  local part                       one question per packet
    answer   U, six fields NUL each           the user
             E, decimal code                  a LOOKUP_* code

Source: qmail-getpw(8).
"""

import socket

from eqmail_core.ipc.packet_socket import PACKET
from eqmail_core.site.site import Site
from eqmail_core.system.kernel import forbid_tracing
from eqmail_core.system.privileges import assume_role
from eqmail_core.system.process_title import set_process_title
from eqmail_core.text.framing import fields, join
from eqmail_core.users.getpw import find_among_accounts
from eqmail_core.users.user import LOOKUP_CANNOT_RUN_GETPW, LOOKUP_USAGE, LookupFailed, User


def run(site: Site, sock: socket.socket) -> int:
    """Answer questions until the spawner closes the socket.  Fails: PrivilegeError."""
    assume_role(site, "qmailp")
    forbid_tracing()
    set_process_title("qmail-getpw", f"accounts for {site.home}")
    while local := sock.recv(PACKET):
        sock.send(_answer(site, local))
    return 0


def _answer(site: Site, local: bytes) -> bytes:
    try:
        return b"U" + join(*find_among_accounts(site, local).fields())
    except LookupFailed as failure:
        return b"E%d" % failure.code


def split_answer(packet: bytes) -> User | int:
    """Parse an answer: the user or a LOOKUP_* code.

    Fails: ValueError, LookupFailed for a malformed one.
    """
    if packet[:1] == b"U":
        return User.from_fields(fields(packet[1:]))
    code = int(packet[1:])
    # Any other code would be taken as a report; 0 would mean that mail is delivered.
    if packet[:1] != b"E" or not LOOKUP_USAGE <= code <= LOOKUP_CANNOT_RUN_GETPW:
        raise ValueError("no answer")
    return code
