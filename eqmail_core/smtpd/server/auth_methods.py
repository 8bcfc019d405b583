"""Choose the AUTH methods to offer: those the password checker supports, as far as known, and SCRAM.

eQmail's qmail-chkpw checks passwords (LOGIN, PLAIN) with every secret, and digests (CRAM-MD5) with clear-text ones.
The abilities of other programs are unknown; the setting is for them.  The server itself checks SCRAM, where qmail-chkpw
checks passwords, runs nothing behind it, and users/smtpauth has stored keys.

Light.  Source: control-files.md (s/qmail's SMTPAUTH).
"""

import os

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, METHODS, PLAIN, SCRAM_METHODS
from eqmail_core.auth.secrets_file import FILE, has_clear_text, has_scram_keys
from eqmail_core.system.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.control.controls import Controls
    from eqmail_core.site.site import Site

_OURS, _WRAPPER = b"qmail-chkpw", b"qmail-pwrap"
_PASSWORDS = (LOGIN, PLAIN)
_CHOICES: dict[bytes, tuple[bytes, ...]] = {
    b"": _PASSWORDS,
    b"cram": (CRAM_MD5,),
    b"+cram": METHODS,
    b"scram": SCRAM_METHODS,
    b"-": (),
}

# By whether clear-text secrets exist; a file without secrets is expected to get crypt strings.
_BY_SECRETS = {False: _PASSWORDS, True: METHODS}


class AuthOffer:
    """The AUTH offer: `methods`, empty without AUTH; `is_demanded`: MAIL requires AUTH."""

    __slots__ = ("is_demanded", "methods")

    def __init__(self, methods: tuple[bytes, ...] = (), is_demanded: bool = False) -> None:
        self.methods = methods
        self.is_demanded = is_demanded


def auth_offer(site: "Site", controls: "Controls", checker: list[bytes]) -> AuthOffer:
    """Return the offer for this checkpassword program (argv, empty for none).

    Fails: ControlError.
    """
    choice = controls.authmethods
    is_demanded = choice is not None and choice.startswith(b"!")
    if not checker:
        return AuthOffer((), is_demanded)
    if choice is not None:
        return AuthOffer(_CHOICES[choice.removeprefix(b"!")], is_demanded)
    return AuthOffer(checkable(site, controls, checker))


def checkable(site: "Site", controls: "Controls", checker: list[bytes]) -> tuple[bytes, ...]:
    """Return the methods this program may support.  Fails: ControlError."""
    name = os.path.basename(checker[0])
    tools = [tool for tool in controls.checkpwtools or () if os.path.exists(tool)] if name == _WRAPPER else [name]
    if any(os.path.basename(tool) != _OURS for tool in tools):
        return METHODS
    try:
        secrets = read_file(f"{site.users}/{FILE}") or b""
    except OSError:
        return _PASSWORDS
    methods = _BY_SECRETS[has_clear_text(secrets)]
    # Another program behind ours may have an effect of its own, which a login by SCRAM would pass by.
    is_alone = name == _OURS and [os.path.basename(word) for word in checker[1:]] in ([], [b"true"])
    return (*methods, *SCRAM_METHODS) if is_alone and has_scram_keys(secrets) else methods
