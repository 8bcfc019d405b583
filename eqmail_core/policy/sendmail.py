"""What the words of a sendmail command line ask for, in qmail's terms.

Source: delivery.md 5.8 (sendmail.c); sendmail(8).
"""

from eqmail_core.formats.options import parse_options, program_name
from eqmail_core.values.address import split_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.formats.wishes import Wishes

INJECT = "inject"
NEW_ALIASES = "newaliases"
PROGRAMS = {"list": "qmail-qread", "serve": "qmail-smtpd"}
"""Actions that another program does."""

_LETTERS = b"vimte:f:p:o:B:F:E::J::xb:N:R:V:"
_MODES = {b"p": "list", b"s": "serve"}
_NAMES = {b"mailq": "list", b"newaliases": NEW_ALIASES}
# What -f replaces, so that From shows the sender.
_REPLACED = (b"QMAILNAME", b"MAILNAME", b"NAME", b"QMAILHOST", b"MAILHOST")
# The client of an SMTP server on standard input is this host, and may relay.
_LOCAL_CLIENT = {
    b"RELAYCLIENT": b"",
    b"DATABYTES": b"0",
    b"PROTO": b"TCP",
    b"TCPLOCALIP": b"127.0.0.1",
    b"TCPLOCALHOST": b"localhost",
    b"TCPREMOTEIP": b"127.0.0.1",
    b"TCPREMOTEHOST": b"localhost",
    b"TCPREMOTEINFO": b"sendmail-bs",
}


class Usage(Exception):
    """The words make no sense."""


class Errand:
    """What to do: INJECT with these words of qmail-inject, an action of PROGRAMS, or NEW_ALIASES; and where.

    `wishes`: of the sender, those about the recipient at place 0 being about each; None: there are none.
    """

    __slots__ = ("action", "argv", "environ", "wishes")

    def __init__(
        self, action: str, argv: list[bytes], environ: dict[bytes, bytes], wishes: "Wishes | None" = None
    ) -> None:
        self.action = action
        self.argv = argv
        self.environ = environ
        self.wishes = wishes


def read_words(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> Errand:
    """Translate a command line.  Fails: BadOption, Usage."""
    options, recipients = parse_options(argv, _LETTERS)
    changed = dict(environ)
    source, sender = b"-a", None
    wished = []
    for letter, argument in options:
        if letter == b"t":
            source = b"-H"
        elif letter == b"f":
            sender = argument
        elif letter == b"F":
            changed[b"MAILNAME"] = argument
        elif letter in b"NRV":
            wished.append((letter, argument))
        elif letter == b"b" and argument[:1] != b"m":
            return _other(argument[:1], changed)
    action = _NAMES.get(program_name(argv))
    if action is not None:
        return Errand(action, [], changed)
    words = [b"bin/qmail-inject", source]
    if sender is not None:
        words += (b"-f", sender)
        _show_sender(changed, sender)
    return Errand(INJECT, [*words, b"--", *recipients], changed, _wished(wished) if wished else None)


def _wished(options: "list[tuple[bytes, bytes]]") -> "Wishes":
    """What -N, -R and -V ask for.  Fails: Usage."""
    # Here, because few have wishes and all would pay for them.
    from eqmail_core.formats.smtp_wishes import BadParameter
    from eqmail_core.policy.sendmail_wishes import wishes_of

    try:
        return wishes_of(options)
    except BadParameter as bad:
        raise Usage from bad


def _other(mode: bytes, environ: dict[bytes, bytes]) -> Errand:
    if mode not in _MODES:
        raise Usage
    if _MODES[mode] == "serve" and b"PROTO" not in environ:
        environ.update(_LOCAL_CLIENT)
    return Errand(_MODES[mode], [], environ)


def _show_sender(environ: dict[bytes, bytes], sender: bytes) -> None:
    for name in _REPLACED:
        environ.pop(name, None)
    environ[b"QMAILUSER"], host = split_address(sender)
    if host is not None:
        environ[b"QMAILHOST"] = host
