"""Logins whose time tells nothing: neither whether there is such a login, nor how its secret is kept."""

import pytest

from eqmail_core.policy.secrets import cost, is_login

YESCRYPT, SHA512, CLEAR = b"$y$j9T$salt$right", b"$6$salt$right", b"secret"
OTHERS = [CLEAR, SHA512, YESCRYPT]


@pytest.mark.parametrize("secret", [*OTHERS, None])
@pytest.mark.parametrize("response", [b"right", b"wrong"])
def test_every_login_costs_the_dearest_method(secret: bytes | None, response: bytes) -> None:
    tried: list[bytes] = []

    def crypt(password: bytes, setting: bytes) -> bytes | None:
        tried.append(setting)
        return setting.rpartition(b"$")[0] + b"$" + password if setting.startswith(b"$") else None

    right = is_login(response, b"", secret, OTHERS, crypt)
    assert right == (secret in (YESCRYPT, SHA512) and response == b"right")
    assert tried.count(YESCRYPT) == 1
    assert set(tried) <= {YESCRYPT, secret}


def test_without_any_secret_nobody_is_right() -> None:
    assert not is_login(b"", b"", None, [], lambda password, setting: None)


def test_methods_are_in_the_order_of_their_cost() -> None:
    secrets = [b"$argon2id$v=19$m=1,t=1,p=1$a$b", YESCRYPT, b"$2b$10$x", SHA512, b"$5$a$b", b"$1$a$b", CLEAR]
    assert sorted(secrets, key=cost, reverse=True) == secrets
