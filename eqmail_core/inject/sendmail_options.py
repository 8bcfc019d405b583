"""Translates the command line of sendmail into qmail's terms.

Options of other sendmails that have no meaning for qmail are ignored, so that no mail is lost.  Options for functions
that qmail provides in another way are refused, and the text names that way.

Source: delivery.md 5.8 (sendmail.c); sendmail(8).
"""

from eqmail_core.mail.address import split_address
from eqmail_core.text.options import parse_options, program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.dsn.parameters import DsnParameters

INJECT = "inject"
NEW_ALIASES = "newaliases"
NOTHING = "nothing"
"""Nothing to do: the queue is retried anyway."""

PROGRAMS = {"list": "qmail-qread", "serve": "qmail-smtpd"}
"""Actions that another program performs."""

_LETTERS = b"vimtnxGUIe:f:r:p:o:b:q::d::h:A:B:C:F:L:N:O:R:V:X:E::J::"
_SENDER = b"fr"
_MODES = {b"p": "list", b"s": "serve", b"i": NEW_ALIASES}
_NO_DAEMON = "the mail system is started by its own services, see qmail-start(8) and eqmail service"
_ELSEWHERE = {
    **dict.fromkeys((b"d", b"D", b"l"), _NO_DAEMON),
    **dict.fromkeys(
        (b"v", b"t"), "addresses are not verified here; eqmail explain ADDRESS tells where mail for one goes"
    ),
    **dict.fromkeys((b"h", b"H"), "there is no status of hosts to be printed or purged; see qmail-tcpto(8)"),
}
"""Unsupported letters of -b, with the replacement."""

_NAMES = {b"mailq": "list", b"newaliases": NEW_ALIASES}
# Variables that -f replaces, so that From shows the sender.
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


_NULL_SENDER = b"<>"
"""How mail programs write the null sender, besides an empty word."""


class Usage(Exception):
    """The command line is invalid."""


class Elsewhere(Exception):
    """The requested function is provided in another way, which the text names."""


class SendmailInvocation:
    """What to do: INJECT, an action of PROGRAMS, NEW_ALIASES or NOTHING, with its environment.

    `argv` are the arguments of qmail-inject.  `dsn`: the DSN parameters, those of recipient 0 for each recipient; None
    if there are none.
    """

    __slots__ = ("action", "argv", "dsn", "environ")

    def __init__(
        self, action: str, argv: list[bytes], environ: dict[bytes, bytes], dsn: "DsnParameters | None" = None
    ) -> None:
        self.action = action
        self.argv = argv
        self.environ = environ
        self.dsn = dsn


def parse_sendmail_command(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> SendmailInvocation:
    """Translate a command line.  Fails: BadOption, Usage, Elsewhere."""
    options, recipients = parse_options(argv, _LETTERS)
    changed = dict(environ)
    source, sender = b"-a", None
    requested = []
    letters = {letter for letter, _ in options}
    if b"q" in letters and b"t" not in letters and not recipients and b"b" not in letters:
        return SendmailInvocation(NOTHING, [], changed)
    if b"I" in letters:
        return SendmailInvocation(NEW_ALIASES, [], changed)
    for letter, argument in options:
        if letter == b"t":
            source = b"-H"
        elif letter in _SENDER:
            sender = argument
        elif letter == b"F":
            changed[b"MAILNAME"] = argument
        elif letter in b"NRV":
            requested.append((letter, argument))
        elif letter == b"b" and argument[:1] != b"m":
            return _other(argument[:1], changed)
    action = _NAMES.get(program_name(argv))
    if action is not None:
        return SendmailInvocation(action, [], changed)
    words = [b"bin/qmail-inject", source]
    if sender == _NULL_SENDER:
        # From stays the caller's: no user is called <>.
        words += (b"-f", b"")
    elif sender is not None:
        words += (b"-f", sender)
        _show_sender(changed, sender)
    return SendmailInvocation(
        INJECT, [*words, b"--", *recipients], changed, _parse_options(requested) if requested else None
    )


def _parse_options(options: "list[tuple[bytes, bytes]]") -> "DsnParameters":
    """The DSN parameters of -N, -R and -V.  Fails: Usage."""
    # Imported here, because few messages have DSN parameters and all would pay for it.
    from eqmail_core.dsn.smtp_parameters import BadParameter, dsn_of_options

    try:
        return dsn_of_options(options)
    except BadParameter as bad:
        raise Usage from bad


def _other(mode: bytes, environ: dict[bytes, bytes]) -> SendmailInvocation:
    if mode in _ELSEWHERE:
        raise Elsewhere(f"-b{mode.decode()}: {_ELSEWHERE[mode]}")
    if mode not in _MODES:
        raise Usage
    if _MODES[mode] == "serve" and b"PROTO" not in environ:
        environ.update(_LOCAL_CLIENT)
    return SendmailInvocation(_MODES[mode], [], environ)


def _show_sender(environ: dict[bytes, bytes], sender: bytes) -> None:
    for name in _REPLACED:
        environ.pop(name, None)
    environ[b"QMAILUSER"], host = split_address(sender)
    if host is not None:
        environ[b"QMAILHOST"] = host
