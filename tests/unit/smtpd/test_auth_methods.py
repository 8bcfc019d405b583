"""Which methods of AUTH are offered: those that the password checker can check."""

from pathlib import Path

import pytest

from eqmail_core.auth.credentials import CRAM_MD5, LOGIN, METHODS, PLAIN, SCRAM_METHODS
from eqmail_core.smtpd.server.auth_methods import auth_offer
from eqmail_core.system.installation import read_controls
from tests.support.smtp_servers import Home

PASSWORDS = (LOGIN, PLAIN)
HASHED, CLEAR = "joe:$y$j9T$salt$hash\n", "ann:secret\n"
STORED = "sue:SCRAM-SHA-256$4096:QUFB$QUFB:QUFB\n"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def offered(home: Home, *checker: str) -> tuple[bytes, ...]:
    return auth_offer(home.site, home.controls(), [word.encode() for word in checker]).methods


def secrets(home: Home, text: str) -> None:
    Path(home.site.users).mkdir(exist_ok=True)
    Path(home.site.users, "smtpauth").write_text(text)


def test_without_a_checker_there_is_no_auth(home: Home) -> None:
    assert offered(home) == ()
    home.write("authmethods", "+cram\n")
    assert offered(home) == ()


@pytest.mark.parametrize(
    ("text", "methods"),
    [
        (HASHED, PASSWORDS),
        (HASHED + CLEAR, METHODS),
        (CLEAR, METHODS),
        ("# ann:secret\n" + HASHED, PASSWORDS),
        ("", PASSWORDS),
        ("old:abJnggxhB/yWI\n", METHODS),
    ],
)
def test_our_checker_offers_the_mechanisms_its_secrets_support(
    home: Home, text: str, methods: tuple[bytes, ...]
) -> None:
    secrets(home, text)
    assert offered(home, "bin/qmail-chkpw", "/bin/true") == methods


@pytest.mark.parametrize(
    ("text", "program", "methods"),
    [
        (STORED, "true", (*PASSWORDS, *SCRAM_METHODS)),
        (STORED, "", (*PASSWORDS, *SCRAM_METHODS)),
        (STORED + CLEAR, "/bin/true", (*METHODS, *SCRAM_METHODS)),
        # What runs behind our checker would not run for those whom it has not checked.
        (STORED, "/usr/bin/note-login", PASSWORDS),
        (HASHED, "true", PASSWORDS),
    ],
)
def test_the_server_offers_scram_where_there_are_keys_and_nothing_else_runs(
    home: Home, text: str, program: str, methods: tuple[bytes, ...]
) -> None:
    secrets(home, text)
    assert offered(home, "bin/qmail-chkpw", *program.split()) == methods


def test_scram_alone_can_be_demanded(home: Home) -> None:
    home.write("authmethods", "scram\n")
    assert offered(home, "bin/qmail-chkpw") == SCRAM_METHODS


def test_without_a_secrets_file_no_clear_text_secret_is_assumed(home: Home) -> None:
    assert offered(home, "/any/where/qmail-chkpw") == PASSWORDS


def test_a_foreign_checker_is_assumed_to_support_every_mechanism(home: Home) -> None:
    secrets(home, HASHED)
    assert offered(home, "/bin/checkpassword", "/bin/true") == METHODS


def test_a_wrapper_supports_what_any_of_its_tools_supports(home: Home, tmp_path: Path) -> None:
    ours, other = tmp_path / "qmail-chkpw", tmp_path / "cmd5checkpw"
    ours.touch()
    home.write("checkpwtools", f"# tools\n{ours}\n{other}\n")
    secrets(home, HASHED)
    assert offered(home, "bin/qmail-pwrap", "/bin/true") == PASSWORDS
    other.touch()
    assert offered(home, "bin/qmail-pwrap", "/bin/true") == METHODS


@pytest.mark.parametrize(
    ("word", "methods", "is_demanded"),
    [
        ("", PASSWORDS, False),
        ("cram", (CRAM_MD5,), False),
        ("+cram", METHODS, False),
        ("-", (), False),
        ("!", PASSWORDS, True),
        ("!cram", (CRAM_MD5,), True),
        ("!+cram", METHODS, True),
        ("plain", METHODS, False),
    ],
)
def test_the_administrator_can_override_the_mechanisms(
    home: Home, word: str, methods: tuple[bytes, ...], is_demanded: bool
) -> None:
    home.write("authmethods", word + "\n")
    offer = auth_offer(home.site, home.controls(), [b"/bin/checkpassword"])
    assert (offer.methods, offer.is_demanded) == (methods, is_demanded)


def test_the_variable_counts_before_the_file(home: Home) -> None:
    home.write("authmethods", "-\n")
    controls = read_controls(home.site, {b"SMTPAUTH": b"+cram"})
    assert auth_offer(home.site, controls, [b"bin/checker"]).methods == METHODS
