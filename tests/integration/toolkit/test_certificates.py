"""`eqmail cert`: keys that the server alone can read, certificates that say the right names and last."""

import json
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.mail import certificates as keys
from tests.support.error_text import is_one_error
from tests.support.name_server import Zone

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEY = keys.new_key(keys.ECDSA)
LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(st.lists(LABEL, min_size=2, max_size=6).map(".".join), min_size=1, max_size=5, unique=True)


@settings(max_examples=10)
@given(NAMES, st.integers(1, 4000))
def test_what_is_made_is_read_back(names: list[str], days: int) -> None:
    found = keys.read(keys.self_signed(KEY, names, NOW, days))
    assert found.names == tuple(names)
    assert found.is_self_signed
    assert found.ends == NOW + timedelta(days=days)
    assert found.begins < NOW


def test_a_certificate_of_the_host_is_made_renewed_and_shown(
    at_home: str, capsys: pytest.CaptureFixture[str], zone: Zone
) -> None:
    path = Path(at_home, "control/servercert.pem")
    eqmail = ["--home", at_home, "cert"]
    assert run([*eqmail, "show"]) == ExitCode.FAILED
    assert "missing, so the SMTP server offers no TLS" in capsys.readouterr().err
    assert run([*eqmail, "make", "--diff"]) == 0
    assert "PRIVATE" not in capsys.readouterr().out
    assert not path.exists()
    assert run([*eqmail, "make"]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    first = keys.read(path.read_bytes())
    assert first.names == ("mail.example.org",)
    assert run([*eqmail, "make"]) == ExitCode.FAILED
    assert "--replace makes another one" in capsys.readouterr().err
    assert run([*eqmail, "renew"]) == 0
    assert capsys.readouterr().out == "No changes needed.\n"
    assert run([*eqmail, "renew", "--within", "9999", "--days", "999"]) == 0
    second = keys.read(path.read_bytes())
    assert second.ends > first.ends
    assert second.tlsa == first.tlsa
    assert run([*eqmail, "renew", "--within", "9999", "--new-key"]) == 0
    assert keys.read(path.read_bytes()).tlsa != first.tlsa
    capsys.readouterr()
    assert run([*eqmail, "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record"].startswith("_25._tcp.mail.example.org. IN TLSA 3 1 1 ")
    assert run(["--home", at_home, "doctor", "--only", "certificates"]) == 0


def test_names_and_the_kind_of_key_can_be_chosen(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["mail.example.org", "mx.example.net"]
    assert run(["--home", at_home, "cert", "make", *names, "--kind", "rsa"]) == 0
    found = keys.read(Path(at_home, "control/servercert.pem").read_bytes())
    assert (list(found.names), found.kind) == (names, "rsa")
    assert run(["--home", at_home, "cert", "make", "mail", "--replace"]) == ExitCode.USAGE
    assert "has no domain" in capsys.readouterr().err


def test_what_an_authority_issued_is_left_to_it(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    import trustme

    path = Path(at_home, "control/servercert.pem")
    issued = trustme.CA().issue_cert("mail.example.org")
    path.write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    assert run(["--home", at_home, "cert", "renew", "--within", "99999"]) == ExitCode.FAILED
    assert "which has to renew it" in capsys.readouterr().err
    path.chmod(0o644)
    assert run(["--home", at_home, "cert", "make", "--replace"]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    path.chmod(0o644)
    path.write_text("nonsense\n")
    for verb in ("renew", "show"):
        assert run(["--home", at_home, "cert", verb]) == ExitCode.FAILED
    assert "holds no certificate" in capsys.readouterr().err


def pem(authority: trustme.CA, *names: str) -> tuple[bytes, bytes]:
    """Chain and key of a certificate for these names."""
    made = authority.issue_cert(*names)
    return b"".join(blob.bytes() for blob in made.cert_chain_pems), made.private_key_pem.bytes()


def test_a_certificate_of_an_authority_is_put_in_place(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    chain, key = pem(trustme.CA(), "mail.example.org")
    Path("chain.pem").write_bytes(chain.replace(b"\n", b"\r\n"))
    Path("key.pem").write_bytes(key)
    words = ["--home", at_home, "cert", "install", "chain.pem", "key.pem"]
    assert run(words) == 0
    path = Path(at_home, "control/servercert.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    capsys.readouterr()
    assert run(words) == 0
    assert capsys.readouterr().out == "No changes needed.\n"
    assert run(["--home", at_home, "doctor", "--only", "certificates"]) == 0


def test_what_no_client_would_take_is_not_put_in_place(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    authority, other = trustme.CA(), trustme.CA()
    chain, key = pem(authority, "mail.example.org")
    root, lock = other.cert_pem.bytes(), keys.serialization.BestAvailableEncryption(b"word")
    sealed = keys.new_key(keys.ECDSA).private_bytes(keys.Encoding.PEM, keys.PrivateFormat.PKCS8, lock)
    over = keys.self_signed(KEY, ["mail.example.org"], datetime(2020, 1, 1, tzinfo=UTC), 30)
    for texts, sentence in (
        ((chain, pem(authority, "mail.example.org")[1]), "KEY: is not the key of a certificate in CHAIN"),
        ((root + chain, key), "CHAIN: does not begin with the certificate of KEY"),
        ((chain + root, key), "which stands before it"),
        ((chain, sealed), "KEY: encrypted"),
        ((chain, b"nonsense"), "KEY: is no private key"),
        ((b"nonsense", key), "CHAIN: holds no certificate"),
        ((over, over), "expired on 2020-01-31"),
    ):
        for name, text in zip(("chain.pem", "key.pem"), texts, strict=True):
            Path(name).write_bytes(text)
        capsys.readouterr()
        assert run(["--home", at_home, "cert", "install", "chain.pem", "key.pem"]) == ExitCode.USAGE
        output = capsys.readouterr().err
        assert sentence in output
        assert is_one_error(output)
        assert "PRIVATE" not in output
        assert not Path(at_home, "control/servercert.pem").exists()


def test_a_certificate_for_another_host_is_put_in_place_with_a_warning(
    at_home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, warns in (("other.example", True), ("*.example.org", False)):
        for path, text in zip(("chain.pem", "key.pem"), pem(trustme.CA(), name), strict=True):
            Path(path).write_bytes(text)
        capsys.readouterr()
        assert run(["--home", at_home, "cert", "install", "chain.pem", "key.pem"]) == 0
        assert ("warning: it is for other.example" in capsys.readouterr().err) is warns


def test_a_key_beside_another_certificate_is_found(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    chain, _ = pem(trustme.CA(), "mail.example.org")
    Path(at_home, "control/servercert.pem").write_bytes(chain + pem(trustme.CA(), "mail.example.org")[1])
    for command in (["doctor", "--only", "certificates"], ["check"]):
        run(["--home", at_home, *command])
        assert "its key is not that of its first certificate" in capsys.readouterr().out


def test_no_key_is_taken_or_shown_as_a_word(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    key = pem(trustme.CA(), "mail.example.org")[1].decode()
    for words, sentence in (
        (["servercert.pem", "--", key], "eqmail cert install CHAIN KEY"),
        (["servercert.pem", key], "No such option '(a text of several lines)'"),
        (["clientcert.pem", "--", key], "copy it there as it is"),
        (["smtpgreeting", "--", key], "a value has more than one line"),
        (["--", key, "x"], "unknown setting '(a text of several lines)'"),
    ):
        capsys.readouterr()
        assert run(["--home", at_home, "config", "set", *words]) == ExitCode.USAGE
        output = capsys.readouterr().err
        assert sentence in output
        assert key.splitlines()[1] not in output
        assert is_one_error(output)


@pytest.mark.root
def test_what_the_server_could_not_read_it_can_read_when_it_is_replaced(real_home: Path) -> None:
    path = real_home / "control/servercert.pem"
    path.write_text("not readable for the server")
    path.chmod(0o600)
    try:
        assert run(["--home", str(real_home), "cert", "make", "--replace"]) == 0
        assert (path.owner(), stat.S_IMODE(path.stat().st_mode)) == ("qmaild", 0o400)
    finally:
        path.unlink()
