"""A new key for a certificate whose old one is published as TLSA: it is made first, published, and then used.

Servers that check TLSA records refuse a key that is not published, so the new one waits until the DNS has its record.

Fails: EqmailError while the record of the new key is missing; it says which to publish.
Source: RFC 7671 section 8.1.
"""

import os
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file, write_atomically
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.certificates import Key, key_in, new_key, tlsa_of

Query = Callable[[str, str], list[str]]


def next_key(site: Site, host: str, kind: str, old_tlsa: str, query: Query, is_forced: bool) -> Key:
    """Return the key of the next certificate, if the DNS is ready for it.

    `old_tlsa`: the digest of the key in use, "" for none. `query(name, kind)`: the texts of records. `is_forced`: use
    it whatever the DNS says.
    """
    path = _path(site)
    key = _made(path)
    if key is not None and tlsa_of(key) == old_tlsa:
        # It has become the key in use.
        forget_next_key(site)
        key = None
    if is_forced or not old_tlsa:
        return key or new_key(kind)
    name = f"_25._tcp.{host}"
    published = [_plain(text) for text in query(name, "TLSA")]
    if f"311{old_tlsa}" not in published:
        return key or new_key(kind)
    if key is None:
        key = new_key(kind)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        write_atomically(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    wanted = tlsa_of(key)
    if f"311{wanted}" not in published:
        raise EqmailError(
            f"{name}: the record of the new key is not published yet; add it beside the old one, wait for its TTL, and "
            f"run this again: {name}. IN TLSA 3 1 1 {wanted}"
        )
    return key


def forget_next_key(site: Site) -> None:
    """Remove the key that waited, once a certificate has it."""
    if os.path.exists(_path(site)):
        os.unlink(_path(site))


def _path(site: Site) -> str:
    return f"{site.home}/acme/next-key.pem"


def _made(path: str) -> Key | None:
    content = read_file(path)
    if content is None:
        return None
    try:
        return key_in(content)
    except (ValueError, TypeError) as error:
        raise EqmailError(f"{path}: holds no key; remove it and run this again") from error


def _plain(text: str) -> str:
    return "".join(text.split()).lower()
