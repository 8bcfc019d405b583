"""The names around one delivery: .qmail files, sender of forwards, variables of programs.

Pure; the caller supplies disk contents and clock.

Source: dot-qmail(5), qmail-command(8), qmail-local.c.
"""

from eqmail_core.mail.address import DOUBLE_BOUNCE, NULL_SENDER, VERP_SUFFIX, header_address, one_line
from eqmail_core.mail.mbox import from_line
from eqmail_core.outcome import DSN_VARIABLE
from eqmail_core.site.layout import HOME_VARIABLE

SET_ASIDE_FLAG = b"\nX-Spam-Flag: YES\n"
"""The line of a header whose message may go to a folder of its own."""

_DEFAULT = b"default"

# Paths of programs and installation, time zone and language, and settings of queueing and delivery.
_INHERITED = frozenset((b"PATH", b"TZ", b"LANG", b"LANGUAGE", b"PROGRAMSECONDS", HOME_VARIABLE))
_PREFIXES = (b"LC_", b"QMAIL")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class LocalDelivery:
    """One message for one user: the user and the envelope.

    `local` is the complete local part of the recipient, `ext` the extension that the user controls.  `default` are the
    instructions for users without a .qmail file.  `name` is empty or begins the name of the file in a Maildir.  `dsn`:
    the DSN parameters, as a list (dsn.parameters).
    """

    __slots__ = ("dash", "default", "dsn", "ext", "home", "host", "local", "name", "sender", "user")

    def __init__(
        self,
        user: bytes,
        home: bytes,
        local: bytes,
        dash: bytes,
        ext: bytes,
        host: bytes,
        sender: bytes,
        default: bytes,
        name: bytes = b"",
        dsn: bytes = b"",
    ) -> None:
        self.user = user
        self.dsn = dsn
        self.home = home
        self.local = local
        self.dash = dash
        self.ext = ext
        self.host = host
        self.sender = sender
        self.default = default
        self.name = name

    @property
    def recipient(self) -> bytes:
        """The whole address."""
        return self.local + b"@" + self.host


def safe_extension(ext: bytes) -> bytes:
    """The extension in file names: lower case, dots as colons; so no name leaves its folder."""
    return ext.lower().replace(b".", b":")


def candidates(dash: bytes, ext: bytes) -> list[tuple[bytes, int]]:
    """Names of the .qmail files that may apply, best first, each with its `default_at`.

    `default_at` is where DEFAULT begins in `ext`, or -1.
    """
    safe = safe_extension(ext)
    stem = b".qmail" + dash
    exact = len(ext) - len(_DEFAULT) if safe.endswith(_DEFAULT) else -1
    found = [(stem + safe, exact)]
    found += [
        (stem + safe[:at] + _DEFAULT, at) for at in range(len(safe), -1, -1) if at == 0 or safe[at - 1 : at] == b"-"
    ]
    return found


def has_owner(sender: bytes) -> bool:
    """Tell whether forwards of mail from `sender` may have a list owner as sender; not bounces."""
    return sender not in (NULL_SENDER, DOUBLE_BOUNCE)


def owner_files(dash: bytes, ext: bytes) -> tuple[bytes, bytes]:
    """The files whose presence declares a list owner, and a sender per recipient (VERP)."""
    owner = b".qmail" + dash + safe_extension(ext) + b"-owner"
    return owner, owner + b"-" + _DEFAULT


def owner_sender(local: bytes, host: bytes, verp: bool) -> bytes:
    """The envelope sender of forwards of a list that has an owner."""
    if verp:
        return local + b"-owner-@" + host + VERP_SUFFIX
    return local + b"-owner@" + host


def return_path_line(sender: bytes) -> bytes:
    """RPLINE: the header line with the envelope sender."""
    return b"Return-Path: <" + header_address(sender) + b">\n"


def delivered_to_line(recipient: bytes) -> bytes:
    """DTLINE: the header line that detects a loop."""
    return b"Delivered-To: " + one_line(recipient) + b"\n"


def inherited(environ: "Mapping[bytes, bytes]") -> dict[bytes, bytes]:
    """The part of the services' environment that programs get: no more than they need.

    The environment of a start script may contain secrets, which users must not see.
    """
    return {name: value for name, value in environ.items() if name in _INHERITED or name.startswith(_PREFIXES)}


def variables(delivery: LocalDelivery, new_sender: bytes, default_at: int, now: float) -> dict[bytes, bytes]:
    """The environment that programs get in addition; DEFAULT only if a default file applies."""
    host2 = _shorter(delivery.host)
    host3 = _shorter(host2)
    ext2 = delivery.ext.partition(b"-")[2]
    ext3 = ext2.partition(b"-")[2]
    found = {
        b"SENDER": delivery.sender,
        b"NEWSENDER": new_sender,
        b"RECIPIENT": delivery.recipient,
        b"USER": delivery.user,
        b"HOME": delivery.home,
        b"LOCAL": delivery.local,
        b"HOST": delivery.host,
        b"HOST2": host2,
        b"HOST3": host3,
        b"HOST4": _shorter(host3),
        b"EXT": delivery.ext,
        b"EXT2": ext2,
        b"EXT3": ext3,
        b"EXT4": ext3.partition(b"-")[2],
        b"DTLINE": delivered_to_line(delivery.recipient),
        b"RPLINE": return_path_line(delivery.sender),
        b"UFLINE": from_line(delivery.sender, now),
    }
    if delivery.dsn:
        found[DSN_VARIABLE] = delivery.dsn
    if default_at >= 0:
        found[b"DEFAULT"] = delivery.ext[default_at:]
    return found


def _shorter(host: bytes) -> bytes:
    """A host without its last label, if it has more than one."""
    return host.rpartition(b".")[0] if b"." in host else host
