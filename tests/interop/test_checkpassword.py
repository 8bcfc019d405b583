"""Checkpassword programs of others behind AUTH and POP3: Debian's checkpw and the modules of cvm.

They become the user before they run what follows, so they are for servers that run as root.
"""

import base64
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.smtpd.policy import authentication as login
from tests.conftest import eqmail
from tests.support.filtered_servers import KINDS, MESSAGE, SmtpConversation, open_conversation
from tests.support.mail_system import make_maildir
from tests.support.smtp_servers import Home

pytestmark = [pytest.mark.slow, pytest.mark.root]

USER = f"eqcheck{os.getpid()}"
PASSWORD = "open sesame"


def open_way_to(path: Path) -> None:
    """Make a folder of the tests reachable for every account."""
    for folder in path.parents:
        if folder.stat().st_mode & 0o011 == 0:
            folder.chmod(folder.stat().st_mode | 0o011)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of an account, with a Maildir and a password for every program."""
    home = tmp_path_factory.mktemp("accounts") / USER
    subprocess.run(["useradd", "-d", home, "-s", "/bin/sh", USER], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{USER}:{PASSWORD}", text=True, check=True, capture_output=True)
        make_maildir(home / "Maildir")
        (home / "Maildir/.password").write_text(PASSWORD + "\n")
        (home / "Maildir/.password").chmod(0o600)
        subprocess.run(["chown", "-R", USER, home], check=True)
        open_way_to(home)
        yield home
    finally:
        subprocess.run(["userdel", USER], check=False, capture_output=True)


@pytest.fixture(params=["checkpw", "cvm-checkpassword cvm-unix", "cvm-checkpassword cvm-pwfile"])
def checker(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path, account: Path) -> Home:
    secret = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=PASSWORD, text=True, capture_output=True, check=True
    ).stdout.strip()
    owner = account.stat()
    passwd = tmp_path / "passwd"
    passwd.write_text(f"{USER}:{secret}:{owner.st_uid}:{owner.st_uid}::{account}:/bin/sh\n")
    return Home(tmp_path / "home")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login, "FAILED_AUTH_PAUSE_S", 0.0)


def variables(home: Home) -> dict[str, str]:
    """What cvm-pwfile wants to know."""
    return {"CVM_PWFILE_PATH": str(Path(home.site.home).parent / "passwd"), "CVM_PWFILE_PWCMP": "crypt"}


def encoded(text: str) -> bytes:
    return base64.b64encode(text.encode())


def plain(client: SmtpConversation, user: str, password: str) -> bytes:
    return client.command(b"AUTH PLAIN " + encoded(f"\0{user}\0{password}"))


def login_(client: SmtpConversation, user: str, password: str) -> bytes:
    assert client.command(b"AUTH LOGIN") == b"334 VXNlcm5hbWU6"
    assert client.command(encoded(user)) == b"334 UGFzc3dvcmQ6"
    return client.command(encoded(password))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", [plain, login_], ids=["PLAIN", "LOGIN"])
def test_an_authenticated_client_may_relay(home: Home, checker: str, kind: str, command: object) -> None:
    home.write("smtpcheckpw", f"{checker} /bin/true\n")
    home.write("authmethods", "\n")
    with open_conversation(kind, home, **variables(home)) as client:
        assert client.command(b"EHLO me").endswith(b"250 AUTH LOGIN PLAIN")
        assert command(client, USER, "wrong") == b"535 authentication failed (#5.7.1)"  # type: ignore[operator]
        assert command(client, "nobody" + USER, PASSWORD) == b"535 authentication failed (#5.7.1)"  # type: ignore[operator]
        assert client.command(b"MAIL FROM:<a@b>") == b"250 ok"
        assert client.command(b"RCPT TO:<x@elsewhere.test>").startswith(b"553")
        client.command(b"RSET")
        accepted = command(client, USER, PASSWORD)  # type: ignore[operator]
        assert accepted == f"235 ok, {USER}, go ahead (#2.0.0)".encode()
        assert client.send(b"x@elsewhere.test", message=MESSAGE).startswith(b"250 ok")


def test_failures_of_foreign_checkers_count_whatever_their_exit_code(home: Home, checker: str) -> None:
    home.write("smtpcheckpw", f"{checker} /bin/true\n")
    with open_conversation("resident", home, **variables(home)) as client:
        assert client.server is not None
        client.server.settings.limits.login_failures = 2
        for _ in range(2):
            assert plain(client, USER, "wrong").startswith(b"535")
        # No further one is looked at.
        assert plain(client, USER, PASSWORD).startswith(b"535")


def test_digest_mechanisms_fail_with_checkers_that_support_none(home: Home, checker: str) -> None:
    home.write("smtpcheckpw", f"{checker} /bin/true\n")
    with open_conversation("program", home, **variables(home)) as client:
        assert client.command(b"AUTH CRAM-MD5").startswith(b"334 ")
        assert client.command(encoded(f"{USER} {'0' * 32}")).startswith(b"535")


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapper_asks_foreign_checkers_after_our_own(home: Home, account: Path, kind: str, tmp_path: Path) -> None:
    """qmail-pwrap: first qmail-chkpw, which has another user, then checkpw."""
    mail_home = tmp_path / "house"
    assert eqmail("--home", mail_home, "setup", "--single-user").returncode == 0
    (mail_home / "users/smtpauth").write_text("ann:$6$salt$none\n")
    checkpw = shutil.which("checkpw")
    (mail_home / "control/checkpwtools").write_text(f"{mail_home}/bin/qmail-chkpw\n{checkpw}\n")
    home.write("smtpcheckpw", f"{mail_home}/bin/qmail-pwrap /bin/true\n")
    with open_conversation(kind, home, EQMAIL_HOME=str(mail_home)) as client:
        assert plain(client, USER, "wrong").startswith(b"535")
        assert plain(client, USER, PASSWORD).startswith(b"235")


@pytest.mark.parametrize(
    "checker_of_pop", ["checkpw", "cvm-checkpassword cvm-unix", "cvm-checkpassword cvm-pwfile", "checkapoppw"]
)
def test_foreign_checkers_open_a_mailbox(home: Home, account: Path, checker_of_pop: str, tmp_path: Path) -> None:
    """Our qmail-popup and qmail-pop3d with their program between them; checkapoppw is for APOP."""
    mail_home = tmp_path / "house"
    assert eqmail("--home", mail_home, "setup", "--single-user").returncode == 0
    open_way_to(mail_home)
    letter = account / "Maildir/cur/1.a:2,"
    letter.write_text("Subject: hi\n\nhello\n")
    os.utime(letter, (1, 1))
    subprocess.run(["chown", USER, letter], check=True)
    command = [
        f"{mail_home}/bin/qmail-popup",
        "pop.test",
        *checker_of_pop.split(),
        f"{mail_home}/bin/qmail-pop3d",
        "Maildir",
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ | variables(home))
    assert process.stdin is not None and process.stdout is not None
    stamp = process.stdout.readline().split()[1]
    if checker_of_pop == "checkapoppw":
        words = b"APOP %b %b\r\n" % (USER.encode(), hashlib.md5(stamp + PASSWORD.encode()).hexdigest().encode())
    else:
        words = b"USER %b\r\nPASS %b\r\n" % (USER.encode(), PASSWORD.encode())
    client_data, _ = process.communicate(words + b"RETR 1\r\nQUIT\r\n", timeout=60)
    assert b"hello\r\n" in client_data, client_data
