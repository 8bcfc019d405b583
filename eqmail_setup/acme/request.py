"""Requests a certificate from an ACME server, and tells when it is to be renewed.

The key of the certificate is kept from one request to the next, so that TLSA records of it stay valid.

Fails: EqmailError with what the server said.
Source: RFC 8555; RFC 9773 (renewal information).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from acme import challenges as kinds
from acme import client, errors, messages
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy.b64 import b64encode
from josepy.errors import Error as JoseError
from josepy.jwk import JWK, JWKRSA
from josepy.util import ComparableRSAKey

from eqmail_core import VERSION
from eqmail_core.site.site import Site
from eqmail_setup.acme.account import AcmeOrder, read_account, write_account
from eqmail_setup.acme.challenges import CHALLENGES, shown_by
from eqmail_setup.acme.proof import Proof
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.certificates import Key

if TYPE_CHECKING:
    import requests

DEADLINE = timedelta(minutes=5)
"""How long the authority may take to look at the proofs and to issue."""

_ACCOUNT_KEY_BITS = 2048
# Nonces of one request that the server may refuse.
_NONCES = 5


@kinds.ChallengeResponse.register
class TlsAlpnResponse(kinds.KeyAuthorizationChallengeResponse):
    """The answer to a challenge by TLS."""

    typ = "tls-alpn-01"


@kinds.Challenge.register
class TlsAlpn(kinds.KeyAuthorizationChallenge):
    """A challenge by TLS, which the library does not know (RFC 8737)."""

    response_cls = TlsAlpnResponse
    typ = response_cls.typ

    def validation(self, account_key: JWK, **_: object) -> str:
        """Return what the digest in the certificate is of."""
        return self.key_authorization(account_key)


class AcmeNetwork(client.ClientNetwork):
    """Repeats a request whose nonce the server does not take, as RFC 8555 section 6.5 wants; the library does once."""

    def post(self, *args: Any, **options: Any) -> "requests.Response":
        """Send a signed request and check the response."""
        for _ in range(_NONCES):
            try:
                return self._post_once(*args, **options)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **options)


def request_certificate(
    site: Site, order: AcmeOrder, key: Key, on_step: Callable[[str], object] = lambda text: None
) -> bytes:
    """Return the chain (PEM) of a new certificate for `key`; `on_step` gets what is done next, for people."""
    try:
        on_step(f"asking {order.server}")
        connection = _connect(site, order)
        made = connection.new_order(_request(order.names, key))
        kind, show = CHALLENGES[order.challenge][0], shown_by(order.challenge, order.argument)
        account_key = connection.net.key
        assert account_key is not None
        answers, proofs = [], []
        for authorization in made.authorizations:
            if authorization.body.status == messages.STATUS_VALID:
                continue
            body = next((item for item in authorization.body.challenges if item.chall.typ == kind), None)
            name = authorization.body.identifier.value
            if body is None:
                offered = ", ".join(sorted(item.chall.typ for item in authorization.body.challenges))
                raise EqmailError(f"{name}: the authority does not take {kind}, only {offered}")
            answers.append((body, body.response(account_key)))
            proofs.append(_proof(name, body.chall, account_key))
        if not proofs:
            return connection.poll_and_finalize(made, _deadline()).fullchain_pem.encode()
        with show(proofs):
            on_step(f"proving {', '.join(proof.name for proof in proofs)} by {kind}")
            for body, response in answers:
                connection.answer_challenge(body, response)
            return connection.poll_and_finalize(made, _deadline()).fullchain_pem.encode()
    except (errors.Error, messages.Error, JoseError, OSError, ValueError) as error:
        raise EqmailError(f"{order.server}: {_reason(error)}") from error


def renewal_due(site: Site, order: AcmeOrder, chain: bytes, now: datetime) -> bool:
    """Return whether a certificate is to be renewed: at the authority's time, else after two thirds of its life."""
    found = x509.load_pem_x509_certificate(chain)
    if set(order.names) != _names_of(found):
        return True
    begins, ends = found.not_valid_before_utc, found.not_valid_after_utc
    try:
        due, _ = _connect(site, order).renewal_time(chain)
    except (errors.Error, messages.Error, JoseError, OSError, ValueError, EqmailError):
        due = None
    return now >= (due or begins + (ends - begins) * 2 / 3)


def _names_of(certificate: x509.Certificate) -> set[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set()
    return set(names.get_values_for_type(x509.DNSName))


def _connect(site: Site, order: AcmeOrder) -> client.ClientV2:
    """Return a client with an account, which is made where there is none yet."""
    kept = read_account(site, order.server)
    if kept is not None:
        secret = serialization.load_pem_private_key(kept[0], None)
    else:
        secret = rsa.generate_private_key(public_exponent=65537, key_size=_ACCOUNT_KEY_BITS)
    assert isinstance(secret, rsa.RSAPrivateKey)
    network = AcmeNetwork(
        JWKRSA(key=ComparableRSAKey(secret)),
        verify_ssl=order.ca or True,  # type: ignore[arg-type]  # requests takes the file of an authority, too
        user_agent=f"eqmail/{VERSION}",
    )
    connection = client.ClientV2(client.ClientV2.get_directory(order.server, network), network)
    if kept is not None:
        network.account = messages.RegistrationResource(uri=kept[1], body=messages.Registration())
        return connection
    wanted = messages.NewRegistration.from_data(email=order.email or None, terms_of_service_agreed=True)
    made = connection.new_account(wanted)
    network.account = made
    pem = secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    write_account(site, order.server, pem, made.uri)
    return connection


def _proof(name: str, challenge: kinds.KeyAuthorizationChallenge, key: JWK) -> Proof:
    content = challenge.key_authorization(key)
    digest = sha256(content.encode()).digest()
    token = challenge.encode("token")
    return Proof(name, token, content, b64encode(digest).decode(), digest)


def _request(names: tuple[str, ...], key: Key) -> bytes:
    listed = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder(x509.Name([])).add_extension(listed, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _deadline() -> datetime:
    # The library compares with the local time of a clock without a zone.
    return datetime.now() + DEADLINE


def _reason(error: Exception) -> str:
    """Return in one line what an authority, or the way to it, said."""
    if isinstance(error, errors.ValidationError):
        said = [
            f"{authorization.body.identifier.value}: {challenge.error.detail}"
            for authorization in error.failed_authzrs
            for challenge in authorization.body.challenges
            if challenge.error is not None
        ]
        return "; ".join(said) or "the proof was refused"
    if isinstance(error, messages.Error):
        return error.detail or str(error)
    if isinstance(error, errors.TimeoutError):
        return "no answer in time"
    return " ".join(str(error).split())[:300] or type(error).__name__
