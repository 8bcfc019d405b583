"""The reports of qmail-print and qmail-shcfg: what was chosen at setup, and every setting with its value.

What a setting means, and its default, come from its declaration.

Source: programs.md 1.1, 1.9 (qmail-print, qmail-shcfg of eQmail after 1.09).
"""

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control, ControlError
from eqmail_core.text.lines import first_line, non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eqmail_core.site.site import Site

_SHOWN = bytes(byte if 32 <= byte <= 126 else 63 for byte in range(256))

_ORDER: "tuple[Control[object], ...]" = (
    Controls.me,
    Controls.defaultdomain,
    Controls.locals,
    Controls.defaulthost,
    Controls.plusdomain,
    Controls.rcpthosts,
    Controls.morercpthosts,
    Controls.virtualdomains,
    Controls.helohost,
    Controls.localiphost,
    Controls.envnoathost,
    Controls.idhost,
    Controls.smtpgreeting,
    Controls.concurrencylocal,
    Controls.concurrencyremote,
    Controls.queuelifetime,
    Controls.timeoutconnect,
    Controls.timeoutremote,
    Controls.timeoutsmtpd,
    Controls.databytes,
    Controls.bouncefrom,
    Controls.bouncehost,
    Controls.doublebouncehost,
    Controls.doublebounceto,
    Controls.defaultdelivery,
    Controls.smtproutes,
    Controls.qmqpservers,
    Controls.badmailfrom,
    Controls.badmailto,
    Controls.percenthack,
    Controls.smtpplugins,
    Controls.checkpwtools,
    Controls.servercert,
    Controls.clientcert,
    Controls.tlsserverciphers,
    Controls.tlsclientciphers,
    Controls.dh2048,
    Controls.rsa2048,
)
_CERTIFICATES = (Controls.servercert, Controls.clientcert)
_KEYS = (Controls.dh2048, Controls.rsa2048)
_LISTS = ("list", "map")

# The users of conf-users as people call their jobs.
_JOBS = ("alias", "daemon", "log", "misc", "passwd", "queue", "remote", "send")


class Ink:
    """Escape sequences of a terminal; all empty where the report goes elsewhere."""

    __slots__ = ("bold", "off", "red", "value")

    def __init__(self, colours: bool) -> None:
        self.bold, self.value, self.red, self.off = (
            (b"\033[1m", b"\033[33m", b"\033[91m", b"\033[0m") if colours else (b"", b"", b"", b"")
        )


def setup_report(site: "Site", ink: Ink) -> bytes:
    """What qmail-print says: the choices that were made at setup."""
    users = zip(_JOBS, site.accounts.users.values(), strict=True)
    lines = [
        "",
        f"    qmail home directory: {site.home}",
        f"user extension delimiter: '{site.break_char.decode('latin-1')}'",
        f"   paternalism (decimal): {site.patrn}",
        f"silent concurrency limit: {site.spawn}",
        f"  default queue location: {site.queue.root}",
        f"queue subdirectory split: {site.split}",
        "",
        "user and group names: ",
        *(f"{job + ' user:':>17} {name}" for job, name in users),
        "",
        f"  standard group: {site.accounts.groups[0]}",
        f"   process group: {site.accounts.groups[1]}",
        "",
        "supports TLS/SSL: Yes",
        "support for IPv6: Yes",
        "",
        "",
    ]
    return b"%bCompiled-in values:%b\n" % (ink.bold, ink.off) + "\n".join(lines).encode("utf-8", "surrogateescape")


def configuration_report(controls: Controls, ink: Ink, expiry: "Callable[[bytes], str]") -> "Iterator[bytes]":
    """The qmail-shcfg report on the control files; `expiry` returns until when a certificate (PEM) is valid.

    Fails: never; a file that cannot be read is named as such.
    """
    yield b"%bConfiguration files:%b\n\n" % (ink.bold, ink.off)
    for control in _ORDER:
        comment = control.manual.partition(". ")[0].rstrip(".")
        head = b"%b%b:%b %b\n" % (ink.bold, control.file.encode(), ink.off, comment.encode())
        try:
            yield head + b"".join(_values(control, controls, ink, expiry))
        except ControlError as failure:
            yield head + b"\t%bcannot be read: %b%b\n" % (ink.red, str(failure).encode(), ink.off)
    variables = ", ".join(sorted({control.env for control in _ORDER if control.env}))
    yield b"\n%bHint:%b  environment variables may override some of these for one program: %b\n" % (
        ink.bold,
        ink.off,
        variables.encode(),
    )


def _values(
    control: "Control[object]", controls: Controls, ink: Ink, expiry: "Callable[[bytes], str]"
) -> "Iterator[bytes]":
    content = controls.content(control.file)
    if control in _CERTIFICATES:
        if content is None:
            yield b"\t%bCritical%b: not found!\n" % (ink.red, ink.off)
        else:
            yield _line(ink, expiry(content).encode())
    elif control in _KEYS:
        absent = b"not found - keys will be generated on the fly (slow)"
        yield _line(ink, absent if content is None else b"present")
    elif content is None:
        yield _line(ink, *_default(control, controls))
    elif control.is_secret and control.kind == "list":
        yield from (_line(ink, b"...") for _ in non_empty_lines(content))
    elif control.is_secret:
        yield from (_line(ink, route.split(b" ", 1)[0]) for route in non_empty_lines(content))
    elif control.kind in _LISTS or control.kind == "file":
        yield from (_line(ink, entry) for entry in non_empty_lines(content))
    else:
        yield _line(ink, first_line(content))


def _default(control: "Control[object]", controls: Controls) -> tuple[bytes, bytes]:
    if control.falls_back_to_me:
        me = controls.content(Controls.me.file)
        if me is not None:
            return first_line(me), b" (default: %b)" % Controls.me.file.encode()
    if control.default is None:
        return b"not set", b""
    return (control.default if isinstance(control.default, bytes) else str(control.default).encode()), b" (default)"


def _line(ink: Ink, value: bytes, remark: bytes = b"") -> bytes:
    return b"\t%b%b%b%b\n" % (ink.value, value.translate(_SHOWN), ink.off, remark)
