"""Verification of a secret by password or digest, in a time that does not depend on the login.

Neither whether there is such a login, nor how its secret is kept.
"""

import hmac
from hashlib import md5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.crypt import crypted
from eqmail_core.auth.responses import cost, is_login, is_proof

YESCRYPT, SHA512, CLEAR = b"$y$j9T$salt$right", b"$6$salt$right", b"secret"
OTHERS = [CLEAR, SHA512, YESCRYPT]


@pytest.mark.parametrize("secret", [*OTHERS, None])
@pytest.mark.parametrize("response", [b"right", b"wrong"])
def test_every_login_takes_the_time_of_the_costliest_hash(secret: bytes | None, response: bytes) -> None:
    tried: list[bytes] = []

    def crypt(password: bytes, setting: bytes) -> bytes | None:
        tried.append(setting)
        return setting.rpartition(b"$")[0] + b"$" + password if setting.startswith(b"$") else None

    right = is_login(response, b"", secret, OTHERS, crypt)
    assert right == (secret in (YESCRYPT, SHA512) and response == b"right")
    assert tried.count(YESCRYPT) == 1
    assert set(tried) <= {YESCRYPT, secret}


def test_without_secrets_every_password_is_wrong() -> None:
    assert not is_login(b"", b"", None, [], lambda password, setting: None)


def test_methods_are_in_the_order_of_their_cost() -> None:
    secrets = [b"$argon2id$v=19$m=1,t=1,p=1$a$b", YESCRYPT, b"$2b$10$x", SHA512, b"$5$a$b", b"$1$a$b", CLEAR]
    assert sorted(secrets, key=cost, reverse=True) == secrets


WORDS = st.binary(min_size=1, max_size=30).filter(lambda text: not text.startswith(b"$") and b"\0" not in text)
CHALLENGE = b"<1.2@host>"


def never(password: bytes, setting: bytes) -> bytes | None:
    return None


@given(WORDS, st.binary(max_size=30))
def test_a_clear_secret_proves_its_password_and_its_digests_and_nothing_else(secret: bytes, other: bytes) -> None:
    assert is_proof(secret, b"", secret, never)
    assert is_proof(other, b"", secret, never) is (other == secret)
    assert is_proof(hmac.new(secret, CHALLENGE, "md5").hexdigest().encode(), CHALLENGE, secret, never)
    assert is_proof(md5(CHALLENGE + secret).hexdigest().encode(), CHALLENGE, secret, never)
    assert not is_proof(secret, CHALLENGE, secret, never), "a password is no digest"


def test_a_stolen_crypt_string_proves_nothing() -> None:
    made = crypted(b"word", b"$6$saltsalt$")
    assert made is not None
    assert is_proof(b"word", b"", made, crypted)
    for challenge in (b"", CHALLENGE):
        for response in (made, hmac.new(made, CHALLENGE, "md5").hexdigest().encode()):
            assert not is_proof(response, challenge, made, crypted)


@pytest.mark.parametrize("response", [b"", b"x"])
def test_an_empty_password_never_verifies(response: bytes) -> None:
    assert not is_proof(response, b"", b"", never)
