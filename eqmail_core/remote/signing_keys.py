"""The DKIM keys of this host: control/dkim/DOMAIN/SELECTOR.pem, read again when a folder of a domain changes.

Fails: TemporaryFailure for keys that cannot be read or used: mail without its signature may be refused for good.
Source: RFC 6376 section 5.1.
"""

import os

from eqmail_core.control.folders import DKIM_KEYS
from eqmail_core.mail_auth.key_states import STATES_FILE, parse_states, signing_selectors
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.system.files import fingerprint_of, read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.mail_auth.dkim_sign import DkimSigningKey

MAX_KEYS = 4
"""Most keys of a domain that sign one message."""

MAX_DOMAINS = 1024
"""Most domains whose keys are kept in memory."""

_SUFFIX = ".pem"
_Fingerprint = tuple[int, int, int]


class SigningKeys:
    """The keys in a folder of control files, by the domain of an author."""

    def __init__(self, control: str) -> None:
        self._folder = f"{control}/{DKIM_KEYS}"
        self._known: dict[str, tuple[_Fingerprint, _Fingerprint | None, list[DkimSigningKey]]] = {}

    def exist(self) -> bool:
        """Return whether there is any domain with keys."""
        return os.path.isdir(self._folder)

    def keys_for(self, domain: bytes) -> "list[DkimSigningKey]":
        """Return the keys that sign for a domain: its own, else those of the nearest domain above it.

        `domain`: A-labels in lower case.
        """
        labels = domain.decode("ascii", "replace").split(".")
        for start in range(max(1, len(labels) - 1)):
            name = ".".join(labels[start:])
            found = None if "/" in name or name.startswith(".") else self._read_if_changed(name)
            if found is not None:
                return found
        return []

    def _read_if_changed(self, name: str) -> "list[DkimSigningKey] | None":
        """Return the keys of one folder, None if there is none."""
        folder = f"{self._folder}/{name}"
        stamp = _fingerprint(folder)
        if stamp is None:
            self._known.pop(name, None)
            return None
        states = _fingerprint(f"{folder}/{STATES_FILE}")
        known = self._known.get(name)
        if known is None or known[:2] != (stamp, states):
            if len(self._known) >= MAX_DOMAINS:
                self._known.clear()
            known = self._known[name] = (stamp, states, _read_keys(folder, name))
        return known[2]


def _read_keys(folder: str, name: str) -> "list[DkimSigningKey]":
    # Imported here: qmail-remote needs it for few messages, and every process would pay for it.
    from eqmail_core.mail_auth.dkim_key import RSA, InvalidKey, kind_of, load_private_key
    from eqmail_core.mail_auth.dkim_sign import DkimSigningKey

    keys = []
    try:
        states = read_file(f"{folder}/{STATES_FILE}")
        selectors = (
            sorted(entry[: -len(_SUFFIX)] for entry in os.listdir(folder) if entry.endswith(_SUFFIX))
            if states is None
            else [selector.decode() for selector in signing_selectors(parse_states(states))]
        )
        for selector in selectors[:MAX_KEYS]:
            pem = read_file(f"{folder}/{selector}{_SUFFIX}")
            if pem is None:
                raise FileNotFoundError(f"{selector}{_SUFFIX}")
            keys.append(DkimSigningKey(name.encode(), selector.encode(), load_private_key(pem)))
    except (OSError, InvalidKey, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise TemporaryFailure(
            b"Unable to read the DKIM keys of %b: %b. (#4.3.0)" % (name.encode(), reason.encode("utf-8", "replace"))
        ) from error
    # Receivers that know one algorithm know RSA, and some look at the first signature only.
    return sorted(keys, key=lambda key: kind_of(key.key) != RSA)


def _fingerprint(path: str) -> _Fingerprint | None:
    try:
        return fingerprint_of(os.stat(path))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise TemporaryFailure(
            b"Unable to look for DKIM keys: %b. (#4.3.0)" % (error.strerror or "").encode()
        ) from error
