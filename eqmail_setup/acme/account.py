"""What is kept between two requests to an ACME server: the key of the account, and how the certificate was obtained.

It lies in HOME/acme, which root alone can read: account.pem (the key), account.json (the address of the account) and
certificate.json (names, server, challenge), and failures.json while renewals fail.

Fails: EqmailError for files that are damaged.
"""

import json
import os
from typing import NamedTuple

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, write_atomically
from eqmail_setup.errors import EqmailError

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


class AcmeOrder(NamedTuple):
    """How a certificate is obtained.

    `server`: the directory of the authority; `ca`: a file of CA certificates for it, "" for the usual ones.
    `challenge`: http, webroot, alpn, dns or rfc2136; `argument`: port, folder, port, hook, or server and file of a key.
    """

    names: tuple[str, ...]
    server: str
    email: str
    challenge: str
    argument: str
    key_kind: str
    ca: str = ""


class Failures(NamedTuple):
    """Renewals that failed in a row: how many, and when the next may be tried (seconds since the epoch)."""

    in_a_row: int
    retry_at: float
    text: str


def folder_of(site: Site) -> str:
    """Return the folder; it is made when something is written."""
    return f"{site.home}/acme"


def read_order(site: Site) -> AcmeOrder | None:
    """Return how the certificate was obtained, None where it was not by ACME."""
    found = _load(f"{folder_of(site)}/certificate.json")
    names = found.get("names")
    if not isinstance(names, list):
        return None
    words = [str(found.get(field, "")) for field in AcmeOrder._fields[1:]]
    return AcmeOrder(tuple(map(str, names)), *words)


def write_order(site: Site, order: AcmeOrder) -> None:
    """Keep how the certificate was obtained."""
    _save(site, "certificate.json", order._asdict())


def read_failures(site: Site) -> Failures:
    """Return the failures since the last success."""
    found = _load(f"{folder_of(site)}/failures.json")
    count, retry_at = found.get("in_a_row"), found.get("retry_at")
    if not isinstance(count, int) or not isinstance(retry_at, int | float):
        return Failures(0, 0.0, "")
    return Failures(count, retry_at, str(found.get("text", "")))


def write_failures(site: Site, failures: Failures) -> None:
    """Keep the failures; none removes the file."""
    if failures.in_a_row:
        _save(site, "failures.json", failures._asdict())
    elif os.path.exists(path := f"{folder_of(site)}/failures.json"):
        os.unlink(path)


def read_account(site: Site, server: str) -> tuple[bytes, str] | None:
    """Return key (PEM) and address of the account at a server, None where there is none."""
    key, found = read_file(f"{folder_of(site)}/account.pem"), _load(f"{folder_of(site)}/account.json")
    if key is None or not found or found.get("server") != server:
        return None
    return key, str(found.get("uri"))


def write_account(site: Site, server: str, key: bytes, uri: str) -> None:
    """Keep key and address of an account."""
    _make_folder(site)
    write_atomically(f"{folder_of(site)}/account.pem", key, 0o600)
    _save(site, "account.json", {"server": server, "uri": uri})


def _make_folder(site: Site) -> None:
    os.makedirs(folder_of(site), mode=0o700, exist_ok=True)


def _load(path: str) -> dict[str, object]:
    text = read_file(path)
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise EqmailError(f"{path}: damaged; remove it and request the certificate again") from error
    return found if isinstance(found, dict) else {}


def _save(site: Site, name: str, value: dict[str, object]) -> None:
    _make_folder(site)
    write_atomically(f"{folder_of(site)}/{name}", json.dumps(value, indent=1).encode() + b"\n", 0o600)
