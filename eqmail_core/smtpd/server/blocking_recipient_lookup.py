"""One question about a recipient to the delivering side, waiting for the answer.  Light.

Source: ipc/recipient_lookup_protocol.py.
"""

from eqmail_core.ipc import recipient_lookup_protocol as wire
from eqmail_core.ipc.packet_socket import PACKET, connect_to

TIMEOUT_S = 10.0
"""How long the delivering side may take; a home may be far away."""

NO_ANSWER = b""


def look_up(path: str, recipient: bytes) -> bytes:
    """The letter of the outcome that a delivery would begin with; b"" where nobody answers in time."""
    try:
        with connect_to(path, TIMEOUT_S) as sock:
            sock.send(wire.question(0, recipient))
            return wire.split_answer(sock.recv(PACKET))[1]
    except (OSError, wire.WireError):
        return NO_ANSWER
