"""Probes of the services: a packet that each answers without side effects.

A connection proves nothing, because the kernel accepts it into the backlog even if the service hangs.

Source: the protocols in eqmail_core.ipc.
"""

from eqmail_core.ipc import (
    delivery_protocol as delivery_wire,
)
from eqmail_core.ipc import (
    recipient_lookup_protocol as lookup_wire,
)
from eqmail_core.ipc import (
    scheduler_control_protocol as control_wire,
)
from eqmail_core.ipc import (
    submission_protocol as queue_wire,
)
from eqmail_core.ipc.packet_socket import connect_to, receive_packet, send_packet
from eqmail_core.site.site import Site

_NOBODY = b"postmaster@localhost"

# An order without a message is reported as such; so is a submission without an envelope.
QUESTIONS = {
    "queue": queue_wire.tagged(queue_wire.COMMIT, 0),
    "send": control_wire.STATS,
    "local": delivery_wire.order(delivery_wire.DeliveryRequest(1, 0, b"", b"", _NOBODY)),
    "remote": delivery_wire.order(delivery_wire.DeliveryRequest(1, 0, b"", b"", _NOBODY)),
    "lookup": lookup_wire.question(1, _NOBODY),
}
"""The first packet on each socket of services, by the kind of service; any packet is an answer."""


def trouble_with(site: Site, kind: str, name: str, timeout_s: float) -> str:
    """Why the service at the socket `name` does not answer; "" if it does.  Fails: never."""
    try:
        with connect_to(site.socket(name), timeout_s) as sock:
            send_packet(sock, QUESTIONS[kind])
            return "" if receive_packet(sock)[0] else "hangs up"
    except TimeoutError:
        return f"no answer in {timeout_s:g} s"
    except OSError as error:
        return error.strerror or str(error)
