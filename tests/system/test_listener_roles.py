"""Listener roles in a running installation, and the names under which its processes are shown."""

import os
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.service.record import read_listeners
from eqmail_core.site.site import Site
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import MailSystem, free_port, make_maildir, messages, until

pytestmark = pytest.mark.slow
ME = "mail.example.org"
BOX = f"box@{ME}"
PASSWORD = "a long secret"


class RoleSystem(MailSystem):
    """Listens on a port of each role, by control/smtplisten."""

    def start(self) -> None:
        self.ports = {role: free_port() for role in ("submission", "submissions", "tls")}
        lines = [f"127.0.0.1:{self.port}", *(f"{role}:127.0.0.1:{port}" for role, port in self.ports.items())]
        (self.home / "control/smtplisten").write_text("".join(f"{line}\n" for line in lines))
        command = [str(self.home / "bin/qmail-start"), *self.words]
        environ = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home), "EQMAIL_HOME": str(self.home)}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        until(self.answers, "an SMTP greeting")


@pytest.fixture
def system(private_home: Path) -> Iterator[RoleSystem]:
    make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    put_certificate(private_home / "control/servercert.pem", ME, "127.0.0.1")
    hashed = subprocess.run(
        [private_home / "bin/qmail-chkpw", "-r"], input=f"{PASSWORD}\n", capture_output=True, text=True, check=True
    ).stderr.strip()
    (private_home / "users/smtpauth").write_text(f"joe:{hashed}\n")
    (private_home / "control/smtpcheckpw").write_text(f"{private_home}/bin/qmail-chkpw /bin/true\n")
    running = RoleSystem(private_home)
    yield running
    running.stop()


def client(system: RoleSystem, role: str) -> smtplib.SMTP:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    if role in ("submissions", "tls"):
        return smtplib.SMTP_SSL("127.0.0.1", system.ports[role], timeout=60, context=context)
    session = smtplib.SMTP("127.0.0.1", system.ports.get(role, system.port), timeout=60)
    session.starttls(context=context)
    return session


@pytest.mark.parametrize("role", ["submission", "submissions"])
def test_a_submission_listener_takes_mail_after_a_login_only(system: RoleSystem, role: str) -> None:
    with client(system, role) as session:
        session.ehlo()
        code, _ = session.mail("a@example.net")
        assert code == 530
        session.login("joe", PASSWORD)
        session.sendmail("joe@example.net", [BOX], "Subject: one\n\n1\n")
    until(lambda: len(messages(system.home / "alias/Maildir")) == 1, "the message")


@pytest.mark.parametrize("role", ["", "tls"])
def test_other_listeners_take_mail_from_every_client(system: RoleSystem, role: str) -> None:
    with client(system, role) as session:
        session.ehlo()
        assert session.mail("a@example.net")[0] == 250


def test_a_submission_listener_takes_no_password_without_tls(system: RoleSystem) -> None:
    with smtplib.SMTP("127.0.0.1", system.ports["submission"], timeout=60) as session:
        session.ehlo()
        assert "PLAIN" not in session.esmtp_features.get("auth", "")
        assert session.mail("a@example.net")[0] == 530


def test_the_listeners_are_on_record(system: RoleSystem) -> None:
    lines = (system.home / "control/smtplisten").read_text().splitlines()
    assert read_listeners(Site(home=str(system.home))) == lines


def test_processes_have_the_classic_names(system: RoleSystem) -> None:
    services = system.services()
    assert {"qmail-send", "qmail-lspawn", "qmail-rspawn", "qmail-clean", "qmail-smtpd"} <= set(services.values())
    assert system.process is not None
    found = subprocess.run(
        ["pgrep", "-P", str(system.process.pid), "qmail-send"], capture_output=True, text=True, check=False
    ).stdout.split()
    assert found == [str(pid) for pid, name in services.items() if name == "qmail-send"]


def test_the_command_line_shows_the_purpose_of_a_process(system: RoleSystem) -> None:
    pytest.importorskip("setproctitle")
    lines = {
        name: Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
        for pid, name in system.services().items()
    }
    assert lines["qmail-send"] == f"qmail-send: scheduler of {system.home}"
    assert f"submission:127.0.0.1:{system.ports['submission']}" in lines["qmail-smtpd"]


def test_run_passes_known_variables_and_roles_on(private_home: Path) -> None:
    put_certificate(private_home / "control/servercert.pem", ME, "127.0.0.1")
    (private_home / "control/smtpcheckpw").write_text(f"{private_home}/bin/qmail-chkpw /bin/true\n")
    plain, by_port, by_role = free_port(), free_port(), free_port()
    words = ["--smtp", f"127.0.0.1:{plain}", "--smtp", f"127.0.0.1:{by_port}", "--smtp"]
    environ = os.environ | {"SUBMISSIONPORT": str(by_port), "RELAYCLIENT": ""}
    system = object.__new__(MailSystem)
    system.home, system.port, system.log_path = private_home, plain, private_home / "test.log"
    with open(system.log_path, "ab") as log:
        system.process = subprocess.Popen(
            [private_home / "bin/eqmail", "--home", private_home, "run", *words, f"submission:127.0.0.1:{by_role}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True,
        )  # fmt: skip
    try:
        until(system.answers, "an SMTP greeting")
        for port, code in ((plain, 250), (by_port, 530), (by_role, 530)):
            with smtplib.SMTP("127.0.0.1", port, timeout=60) as session:
                session.ehlo()
                assert session.mail("a@example.net")[0] == code
                assert session.rcpt("b@elsewhere.example")[0] in (553, 503)
    finally:
        system.stop()
