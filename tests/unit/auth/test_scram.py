"""SCRAM-SHA-256: the exchange of RFC 7677, stored keys, and what a client may get wrong."""

import hmac
from base64 import b64decode, b64encode
from hashlib import pbkdf2_hmac, sha256
from pathlib import Path

import pytest

from eqmail_core.auth.crypt import crypted, new_setting
from eqmail_core.auth.responses import is_login
from eqmail_core.auth.scram import ScramError, ScramExchange, ScramKeys, keys_of, parse_keys, prepared
from eqmail_core.auth.scram_secrets import ScramSecrets
from eqmail_core.auth.secrets_file import SCRAM, has_clear_text, has_scram_keys, is_crypt_string

# RFC 7677 section 3.
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SIGNATURE = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEYS = keys_of(b"pencil", SALT)


def proof(password: bytes, first: bytes, challenge: bytes, binding: bytes = b"") -> bytes:
    """The client's final message, made independently of the server's code."""
    parts = dict(word.split(b"=", 1) for word in challenge.split(b","))
    salted = pbkdf2_hmac("sha256", password, b64decode(parts[b"s"]), int(parts[b"i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    bare = first.split(b",", 2)[2]
    without = b"c=%b,r=%b" % (b64encode(first[: -len(bare)] + binding), parts[b"r"])
    signature = hmac.digest(sha256(client_key).digest(), b",".join((bare, challenge, without)), "sha256")
    return without + b",p=" + b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))


def begun(first: bytes = FIRST, end_point: bytes | None = None, offers_plus: bool = False) -> ScramExchange:
    exchange = ScramExchange(SERVER_NONCE, end_point, offers_plus)
    exchange.first(first)
    return exchange


def test_the_exchange_of_the_rfc() -> None:
    exchange = ScramExchange(SERVER_NONCE, None, False)
    assert exchange.first(FIRST) == b"user"
    assert exchange.challenge(KEYS) == CHALLENGE
    assert exchange.final(FINAL) == SIGNATURE
    assert proof(b"pencil", FIRST, CHALLENGE) == FINAL


def test_a_wrong_password_proves_nothing() -> None:
    exchange = begun()
    assert exchange.final(proof(b"pencils", FIRST, exchange.challenge(KEYS))) is None


def test_channel_binding_is_part_of_the_proof() -> None:
    first = FIRST.replace(b"n,,", b"p=tls-server-end-point,,")
    exchange = begun(first, b"hash")
    assert exchange.final(proof(b"pencil", first, exchange.challenge(KEYS), b"hash")) is not None
    for binding in (b"", b"other"):
        exchange = begun(first, b"hash")
        with pytest.raises(ScramError, match="channel binding"):
            exchange.final(proof(b"pencil", first, exchange.challenge(KEYS), binding))


@pytest.mark.parametrize(
    ("header", "end_point", "offers_plus"),
    [
        (b"p=tls-server-end-point", None, False),
        (b"p=tls-unique", b"hash", True),
        (b"p=tls-exporter", b"hash", True),
        (b"n", b"hash", True),
        (b"y", b"hash", True),
        # Somebody between them took -PLUS out of the offer.
        (b"y", None, True),
        (b"x", None, False),
    ],
)
def test_a_binding_that_does_not_fit_is_refused(header: bytes, end_point: bytes | None, offers_plus: bool) -> None:
    with pytest.raises(ScramError, match="channel binding"):
        begun(header + FIRST[1:], end_point, offers_plus)


def test_a_client_may_know_of_binding_where_the_server_has_none() -> None:
    assert begun(b"y" + FIRST[1:]).user == b"user"


@pytest.mark.parametrize(
    "first",
    [b"", b"n", b"n,", b"n,,", b"n,,n=u", b"n,,r=x,n=u", b"n,,n=u,r=", b"n,,n=u,r=a b", b"n,,n=u=2X,r=a",
     b"n,,n=u=,r=a", b"n,z=q,n=u,r=a", b"n,,m=ext,n=u,r=a"],
)  # fmt: skip
def test_a_malformed_first_message_is_refused(first: bytes) -> None:
    with pytest.raises(ScramError):
        begun(first)


@pytest.mark.parametrize(
    "final",
    [b"", b"c=biws", b"c=biws,r=x,p=AAAA", FINAL.replace(b"c=biws", b"c=eSws"), FINAL[:-4], FINAL[:-1] + b"!",
     b"p=AAAA", FINAL.replace(b",p=", b",q=")],
)  # fmt: skip
def test_a_malformed_final_message_is_refused(final: bytes) -> None:
    exchange = begun()
    exchange.challenge(KEYS)
    with pytest.raises(ScramError):
        exchange.final(final)


def test_names_are_unescaped_and_prepared() -> None:
    assert begun(b"n,a=admin,n=a=2Cb=3Dc,r=x").user == b"a,b=c"
    assert prepared("ⅨI\u00adX\u00a0".encode()) == b"IXIX "
    assert prepared(b"\xff") == b"\xff"


def test_stored_keys_are_those_of_rfc_5803_and_check_a_password() -> None:
    text = KEYS.text()
    assert text.startswith(b"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$")
    found = parse_keys(text)
    assert found is not None and found.text() == text
    assert crypted(b"pencil", text) == text
    assert crypted(b"pencils", text) != text
    made = crypted(b"new", new_setting(SCRAM))
    assert made is not None and crypted(b"new", made) == made
    assert is_login(b"pencil", b"", text, [text], crypted)
    assert not is_login(text, b"", text, [text], crypted)
    assert is_crypt_string(text) and not has_clear_text(b"joe:" + text) and has_scram_keys(b"joe:" + text)


@pytest.mark.parametrize(
    "text",
    [b"", b"pencil", b"SCRAM-SHA-256$", b"SCRAM-SHA-256$0:QUFB$QUFB:QUFB", b"SCRAM-SHA-256$99999999:QUFB$QUFB:QUFB",
     b"SCRAM-SHA-256$4096:!$QUFB:QUFB", b"SCRAM-SHA-256$4096:QUFB$QUFB:QUFB", KEYS.text()[:-1]],
)  # fmt: skip
def test_broken_keys_are_no_keys_and_check_nothing(text: bytes) -> None:
    assert parse_keys(text) is None
    if text.startswith(SCRAM):
        assert crypted(b"pencil", text) != text


def test_keys_come_from_stored_lines_and_from_clear_text(tmp_path: Path) -> None:
    path = tmp_path / "smtpauth"
    path.write_bytes(b"joe:%b\nann:pencil\nbob:$6$x$y\n" % KEYS.text())
    secrets = ScramSecrets(str(path), lambda name: Path(name).read_bytes())
    assert secrets.find(b"joe").text() == KEYS.text()
    ann = secrets.find(b"ann")
    assert ann.text() == keys_of(b"pencil", ann.salt).text() == secrets.find(b"ann").text()


def test_a_login_that_does_not_exist_has_keys_that_nobody_can_prove(tmp_path: Path) -> None:
    path = tmp_path / "smtpauth"
    path.write_bytes(b"joe:%b\nbob:$6$x$y\n" % KEYS.text())
    secrets = ScramSecrets(str(path), lambda name: Path(name).read_bytes())
    for login in (b"nobody", b"bob"):
        keys = secrets.find(login)
        assert (keys.iterations, len(keys.salt)) == (4096, 16)
        assert keys.text() == secrets.find(login).text()
        exchange = begun()
        assert exchange.final(proof(b"", FIRST, exchange.challenge(keys))) is None
    assert secrets.find(b"nobody").salt != secrets.find(b"noone").salt


def test_a_changed_file_counts_and_a_missing_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "smtpauth"
    secrets = ScramSecrets(str(path), lambda name: Path(name).read_bytes())
    with pytest.raises(OSError, match="smtpauth"):
        secrets.find(b"joe")
    path.write_bytes(b"joe:" + KEYS.text())
    assert secrets.find(b"joe").text() == KEYS.text()
    path.write_bytes(b"joe:" + ScramKeys(5000, SALT, KEYS.stored_key, KEYS.server_key).text())
    assert secrets.find(b"joe").iterations == 5000
