"""The wire by which qmail-smtpd hands its client over to the resident SMTP service; packets on run/smtp.sock.

    service  EQ1                      there is room; the grammar is this one
    program  field NUL ...            and the client's socket: A, a word of the command that checks passwords, in
                                      order; V, a variable of the environment, NAME=VALUE
    service  K                        taken; until now nothing was said to the client
             N reason                 not taken: the program serves the client itself
             L line                   for the program's standard error
             E code                   the conversation is over; digits of the program's exit code

Light.  Who hangs up before K has not had the client.  After K the conversation lives as long as both of them.

Fails: WireError.
Source: docs/adr/0010.
"""

from eqmail_core.text.framing import fields, join

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

READY, TAKEN, REFUSED, LINE, END = b"EQ1", b"K", b"N", b"L", b"E"

MAX_BYTES = 98304
"""Longest environment and command that are handed over, in bytes."""


class WireError(ValueError):
    """A packet that is not of this wire."""


def offer(checker: list[bytes], environ: "Mapping[bytes, bytes]") -> bytes:
    """Render what the service has to know beside the socket."""
    return join(*[b"A" + word for word in checker], *[b"V%b=%b" % pair for pair in environ.items()])


def split_offer(packet: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The command that checks passwords, and the environment.  Fails: WireError."""
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
            raise WireError("no field of an offer")
    return checker, environ


def end(code: int) -> bytes:
    """Render the end of a conversation."""
    return b"%b%d" % (END, code)


def split_end(packet: bytes) -> int:
    """The exit code.  Fails: WireError."""
    if not packet[1:].isdigit():
        raise WireError("no exit code")
    return int(packet[1:])
