"""Proofs for an ACME authority as TXT records, written by dynamic updates to the name server of the zone.

The zone is the nearest one above the name that the server answers for. Updates are signed by a key in the form of BIND.

Fails: EqmailError.
Source: RFC 2136; RFC 8945 (TSIG); RFC 8555 section 8.4.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsigkeyring
import dns.update

from eqmail_core.system.files import read_file
from eqmail_setup.acme.proof import Proof, record_name
from eqmail_setup.errors import EqmailError

TTL_S, TIMEOUT_S = 60, 10.0

MAX_KEY_FILE = 65536

_KEY = re.compile(r'key\s+"?([^"\s{]+)"?\s*\{([^}]*)\}', re.S)
_ALGORITHM = re.compile(r'algorithm\s+"?([A-Za-z0-9.-]+)"?\s*;')
_SECRET = re.compile(r'secret\s+"?([A-Za-z0-9+/=]+)"?\s*;')


class UpdateServer:
    """A name server that takes updates: HOST or HOST:PORT, and the file with the key for them."""

    def __init__(self, address: str, key_file: str) -> None:
        host, colon, port = address.rpartition(":")
        if not colon or (":" in host and not host.startswith("[")):
            host, port = address, "53"
        if not port.isdigit() or not 0 < int(port) < 65536:
            raise EqmailError(f"{address}: is no name server; give HOST or HOST:PORT")
        self._host = host.strip("[]")
        self._port = int(port)
        self._keyring, self._key, self._algorithm = _read_key(key_file)

    def zone_of(self, name: str) -> dns.name.Name:
        """Return the zone that a name lies in."""
        place = dns.name.from_text(name)
        while len(place) > 1:
            answer = self._ask(dns.message.make_query(place, dns.rdatatype.SOA))
            if answer.flags & dns.flags.AA and answer.get_rrset(
                answer.answer, place, dns.rdataclass.IN, dns.rdatatype.SOA
            ):
                return place
            place = place.parent()
        raise EqmailError(f"{self._host}: answers for no zone of {name}")

    def set_texts(self, name: str, texts: list[str]) -> None:
        """Make these the TXT records of a name; none removes them."""
        zone = self.zone_of(name)
        update = dns.update.UpdateMessage(zone, keyring=self._keyring, keyname=self._key, keyalgorithm=self._algorithm)
        owner = dns.name.from_text(name)
        update.delete(owner, "TXT")
        for text in texts:
            update.add(owner, TTL_S, "TXT", f'"{text}"')
        answer = self._ask(update)
        if answer.rcode() != dns.rcode.NOERROR:
            raise EqmailError(f"{self._host}: refuses to update {zone}: {dns.rcode.to_text(answer.rcode())}")

    def _ask(self, question: dns.message.Message) -> dns.message.Message:
        try:
            return dns.query.tcp(question, self._host, TIMEOUT_S, self._port)
        except (dns.exception.DNSException, OSError, ValueError) as error:
            raise EqmailError(f"name server {self._host}: {str(error) or type(error).__name__}") from error


def _read_key(path: str) -> tuple[dict[dns.name.Name, object], dns.name.Name, str]:
    text = (read_file(path) or b"")[:MAX_KEY_FILE].decode("utf-8", "replace")
    found = _KEY.search(text)
    secret, algorithm = (pattern.search(found[2]) if found else None for pattern in (_SECRET, _ALGORITHM))
    if found is None or secret is None:
        raise EqmailError(f'{path}: holds no key of the form: key "NAME" {{ algorithm hmac-sha256; secret "..."; }};')
    try:
        keyring = dns.tsigkeyring.from_text({found[1]: secret[1]})
    except (dns.exception.DNSException, ValueError) as error:
        raise EqmailError(f"{path}: a key that cannot be read: {error}") from error
    return keyring, next(iter(keyring)), algorithm[1] if algorithm else "hmac-sha256"


@contextmanager
def by_update(argument: str, proofs: list[Proof]) -> Iterator[None]:
    """Write TXT records, and remove them.  `argument`: the server, a blank, and the file of the key."""
    address, _, key_file = argument.partition(" ")
    server = UpdateServer(address, key_file)
    texts: dict[str, list[str]] = {}
    for proof in proofs:
        texts.setdefault(record_name(proof.name), []).append(proof.record)
    done: list[str] = []
    try:
        for name, records in texts.items():
            done.append(name)
            server.set_texts(name, records)
        yield
    finally:
        for name in done:
            server.set_texts(name, [])
