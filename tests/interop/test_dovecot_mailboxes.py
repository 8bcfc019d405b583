"""The real Dovecot with the generated configuration: people read the mail of their mailboxes with their passwords."""

import imaplib
import os
import poplib
import shutil
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import free_port, until

pytestmark = [pytest.mark.root, pytest.mark.slow]
ANN = "ann@example.net"
PASSWORD = "a long secret"
OWNER = "64055:64055"
MORE = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
listen = 127.0.0.1
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = {pop3s}
  }}
}}
"""


def made(*words: str | Path, **options: object) -> str:
    done = eqmail(*words, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Reader:
    """A running Dovecot with the generated configuration, on ports of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.imap, self.pop3s = free_port(), free_port()
        self.log = folder / "dovecot.log"
        config = folder / "dovecot.conf"
        made("--home", home, "gen-dovecot", "--install", "--config", config)
        with open(config, "a") as file:
            file.write(MORE.format(folder=folder, imap=self.imap, pop3s=self.pop3s))
        self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", config], start_new_session=True)
        until(self.is_up, "Dovecot")
        self.context = ssl.create_default_context()
        AUTHORITY.configure_trust(self.context)

    def is_up(self) -> bool:
        said = self.log.read_text() if self.log.exists() else ""
        assert self.process.poll() is None, said
        return "starting up" in said

    def subjects(self, user: str, password: str) -> list[bytes]:
        client = imaplib.IMAP4("127.0.0.1", self.imap)
        try:
            client.starttls(self.context)
            client.login(user, password)
            client.select("INBOX")
            numbers = client.search(None, "ALL")[1][0].split()
            return [
                client.fetch(it.decode(), "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")[1][0][1].strip() for it in numbers
            ]  # type: ignore[index, union-attr]
        finally:
            # Not by LOGOUT, which leaves the socket open where the server was first to go.
            client.shutdown()

    def accepts(self, user: str, password: str) -> bool:
        try:
            self.subjects(user, password)
        except imaplib.IMAP4.error:
            return False
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def home() -> Iterator[Path]:
    """An installation that the accounts of Dovecot can reach, with one mailbox."""
    folder = Path(tempfile.mkdtemp(prefix="dm", dir="/tmp"))
    folder.chmod(0o755)
    home = folder / "home"
    made("--home", home, "setup", "--single-user")
    made("--home", home, "config-fast", "mail.example.org")
    put_certificate(home / "control/servercert.pem", "127.0.0.1", "localhost")
    made("--home", home, "mailbox", "add", ANN, "--stdin", "--quota", "5G", input=f"{PASSWORD}\n")
    yield home
    shutil.rmtree(folder, ignore_errors=True)


def give_away(home: Path, address: str) -> Path:
    """Mailboxes of an installation of one user are root's, whom Dovecot does not serve: give one to another user."""
    local, _, domain = address.partition("@")
    box = home / "users" / domain / local
    for path in (box, *box.rglob("*")):
        os.chown(path, 64055, 64055)
    users = home / "users/dovecot"
    users.write_text(users.read_text().replace(f"{address}::0:0:", f"{address}::{OWNER}:"))
    return box / ".Maildir"


def test_mail_is_read_with_the_credentials_of_the_mailbox(home: Path) -> None:
    (home.parent / "d").mkdir()
    reader = Reader(home, home.parent / "d")
    try:
        (give_away(home, ANN) / "new/1.a.b").write_bytes(b"Subject: one\n\nhello\n")
        assert reader.subjects(ANN, PASSWORD) == [b"Subject: one"]
        with pytest.raises(imaplib.IMAP4.error):
            reader.subjects(ANN, "wrong")
        hashed = (home / "users/smtpauth").read_text().rpartition(f"{ANN}:")[2].splitlines()[0]
        with pytest.raises(imaplib.IMAP4.error):
            reader.subjects(ANN, hashed)
        pop = poplib.POP3_SSL("127.0.0.1", reader.pop3s, timeout=60, context=reader.context)
        pop.user(ANN)
        pop.pass_(PASSWORD)
        assert pop.stat()[0] == 1
        pop.quit()
        made("--home", home, "mailbox", "add", "bob@example.net", "--stdin", input="other secret\n")
        give_away(home, "bob@example.net")
        # Dovecot looks at its files once a second.
        until(lambda: reader.accepts("bob@example.net", "other secret"), "a login to the new mailbox")
        made("--home", home, "mailbox", "remove", "bob@example.net")
        until(lambda: not reader.accepts("bob@example.net", "other secret"), "no login any more")
    finally:
        reader.stop()


def test_passwords_need_tls(home: Path) -> None:
    (home.parent / "d").mkdir()
    reader = Reader(home, home.parent / "d")
    try:
        client = imaplib.IMAP4("127.0.0.1", reader.imap)
        with pytest.raises(imaplib.IMAP4.error):
            client.login(ANN, PASSWORD)
        client.shutdown()
    finally:
        reader.stop()


def test_another_configuration_is_kept_beside_ours(home: Path) -> None:
    config = home.parent / "dovecot.conf"
    config.write_text("protocols = none\n")
    refused = eqmail("--home", home, "gen-dovecot", "--install", "--config", config)
    assert refused.returncode == 3 and "--replace keeps it as" in refused.stderr
    assert config.read_text() == "protocols = none\n"
    made("--home", home, "gen-dovecot", "--install", "--config", config, "--replace")
    assert Path(f"{config}.before-eqmail").read_text() == "protocols = none\n"
    again = made("--home", home, "gen-dovecot", "--install", "--config", config)
    assert "write" not in again.lower()


def test_the_configuration_is_one_that_dovecot_takes(home: Path) -> None:
    config = home.parent / "dovecot.conf"
    made("--home", home, "gen-dovecot", "--install", "--config", config)
    done = subprocess.run(["doveconf", "-n", "-c", config], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "disable_plaintext_auth = yes" in done.stdout or "disable_plaintext_auth" not in done.stdout
    assert f"{home}/users/smtpauth" in done.stdout
