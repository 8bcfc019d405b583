"""Which methods of AUTH a server offers: those that its password checker can check, as far as we know the checker.

Our own qmail-chkpw checks passwords (LOGIN, PLAIN) with every secret, and digests (CRAM-MD5) with those in clear text.
Of other programs nobody but the administrator knows what they can do; the setting is for that.

Light.  Source: control-files.md; changelog-and-wishes.md "SMTP AUTH extras" (s/qmail's SMTPAUTH).
"""

import os

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, METHODS, PLAIN
from eqmail_core.auth.secrets_file import FILE, has_clear_text
from eqmail_core.system.files import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.control.controls import Controls
    from eqmail_core.site.site import Site

_OURS, _WRAPPER = b"qmail-chkpw", b"qmail-pwrap"
_PASSWORDS = (LOGIN, PLAIN)
_CHOICES: dict[bytes, tuple[bytes, ...]] = {b"": _PASSWORDS, b"cram": (CRAM_MD5,), b"+cram": METHODS, b"-": ()}

# By whether there are clear texts; where there is no secret yet, the next one will be the usual one, a crypt string.
_BY_SECRETS = {False: _PASSWORDS, True: METHODS}


class AuthOffer:
    """`methods` of AUTH, none where there is no AUTH; `is_demanded`: without it no mail is taken."""

    __slots__ = ("is_demanded", "methods")

    def __init__(self, methods: tuple[bytes, ...] = (), is_demanded: bool = False) -> None:
        self.methods = methods
        self.is_demanded = is_demanded


def auth_offer(site: "Site", controls: "Controls", checker: list[bytes]) -> AuthOffer:
    """What is offered where this program (an argv, empty for none) checks passwords.  Fails: ControlError."""
    choice = controls.authmethods
    is_demanded = choice is not None and choice.startswith(b"!")
    if not checker:
        return AuthOffer((), is_demanded)
    if choice is not None:
        return AuthOffer(_CHOICES[choice.removeprefix(b"!")], is_demanded)
    return AuthOffer(checkable(site, controls, checker))


def checkable(site: "Site", controls: "Controls", checker: list[bytes]) -> tuple[bytes, ...]:
    """The methods that this program may be able to check.  Fails: ControlError."""
    name = os.path.basename(checker[0])
    tools = [tool for tool in controls.checkpwtools or () if os.path.exists(tool)] if name == _WRAPPER else [name]
    if any(os.path.basename(tool) != _OURS for tool in tools):
        return METHODS
    try:
        return _BY_SECRETS[has_clear_text(read_file(f"{site.users}/{FILE}") or b"")]
    except OSError:
        return _PASSWORDS
