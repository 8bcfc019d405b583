"""Look up one recipient on the delivering side, blocking.  Light.

Source: ipc/recipient_lookup_protocol.py.
"""

from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.packet_socket import PACKET, connect_to

TIMEOUT_S = 10.0
"""Maximum wait for an answer in seconds; home directories may be on a network."""

NO_ANSWER = b""


def look_up(path: str, recipient: bytes) -> bytes:
    """Return the outcome letter a delivery would start with; b"" without an answer in time."""
    try:
        with connect_to(path, TIMEOUT_S) as sock:
            sock.send(wire.question(0, recipient))
            return wire.split_answer(sock.recv(PACKET))[1]
    except (OSError, wire.LookupProtocolError):
        return NO_ANSWER
