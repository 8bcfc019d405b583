"""The protocol that hands a client of qmail-smtpd over to the SMTP service: run/smtp.sock.

    service  EQ1                      it has room and uses this version
    program  field NUL ...            with the client's socket: A, a word of the checkpassword command, in order;
                                      V, an environment variable, NAME=VALUE
    service  K                        accepted; nothing has been sent to the client so far
             N reason                 refused: the program serves the client itself
             L line                   for the program's standard error
             E code                   the session has ended; the program's exit code in digits

Light.  A service that disconnects before K has not used the client.
After K the session lasts as long as both processes do.

Fails: HandoverProtocolError.
Source: docs/adr/0010.
"""

from eqmail_core.text.framing import fields, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

READY, TAKEN, REFUSED, LINE, END = b"EQ1", b"K", b"N", b"L", b"E"

MAX_BYTES = 98304
"""Longest offer, environment and command together, in bytes."""


class HandoverProtocolError(ValueError):
    """A packet that does not follow this protocol."""


def offer(checker: list[bytes], environ: "Mapping[bytes, bytes]") -> bytes:
    """Render the fields that accompany the client's socket."""
    return join(*[b"A" + word for word in checker], *[b"V%b=%b" % pair for pair in environ.items()])


def split_offer(packet: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """Read the checkpassword command and the environment of an offer.

    Fails: HandoverProtocolError.
    """
    checker: list[bytes] = []
    environ: dict[bytes, bytes] = {}
    for field in fields(packet):
        letter, text = field[:1], field[1:]
        name, equals, value = text.partition(b"=")
        if letter == b"A":
            checker.append(text)
        elif letter == b"V" and equals:
            environ[name] = value
        else:
            raise HandoverProtocolError("no field of an offer")
    return checker, environ


def end(code: int) -> bytes:
    """Render an E packet."""
    return b"%b%d" % (END, code)


def split_end(packet: bytes) -> int:
    """Read the exit code of an E packet.  Fails: HandoverProtocolError."""
    if not packet[1:].isdigit():
        raise HandoverProtocolError("no exit code")
    return int(packet[1:])
