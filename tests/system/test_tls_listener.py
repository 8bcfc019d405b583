"""TLS in a running installation, seen by other clients: STARTTLS, and a listener with TLS from the first byte."""

import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from eqmail_core.supervisor import start
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.mail_system import MailSystem, free_port, make_maildir, messages, until

ME = "mail.example.org"


def test_an_address_can_be_marked_as_tls() -> None:
    for address, kind in (("127.0.0.1", False), ("tls:127.0.0.1", True), ("tls:[::1]", True)):
        with start.listen_on(f"{address}:{free_port()}") as listener:
            assert listener.role.is_tls is kind
    with pytest.raises(start.StartError):
        start.listen_on("tls:127.0.0.1")


class TlsMailSystem(MailSystem):
    """Listens on a second port, where TLS comes first."""

    def start(self) -> None:
        self.tls_port = free_port()
        (self.home / "control/smtplisten").write_text(f"127.0.0.1:{self.port}\ntls:127.0.0.1:{self.tls_port}\n")
        command = [str(self.home / "bin/qmail-start"), *self.words]
        environ = {"PATH": f"{self.home}/bin:/usr/bin:/bin", "HOME": str(self.home), "EQMAIL_HOME": str(self.home)}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environ, start_new_session=True
            )
        until(self.answers, "an SMTP greeting")


@pytest.mark.slow
def test_foreign_clients_deliver_with_starttls_and_implicit_tls(private_home: Path) -> None:
    make_maildir(private_home / "alias/Maildir")
    (private_home / "alias/.qmail-box").write_text("./Maildir/\n")
    put_certificate(private_home / "control/servercert.pem", ME, "127.0.0.1")
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    mail_system = TlsMailSystem(private_home)
    try:
        with smtplib.SMTP("127.0.0.1", mail_system.port, timeout=60) as client:
            client.starttls(context=context)
            client.sendmail("a@example.net", [f"box@{ME}"], "Subject: one\n\n1\n")
        with smtplib.SMTP_SSL("127.0.0.1", mail_system.tls_port, timeout=60, context=context) as client:
            client.sendmail("a@example.net", [f"box@{ME}"], "Subject: two\n\n2\n")
        address = f"127.0.0.1:{mail_system.port}"
        answer = subprocess.run(
            ["openssl", "s_client", "-starttls", "smtp", "-crlf", "-quiet", "-connect", address],
            input=b"QUIT\n", capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        assert answer.stdout.endswith(b"221 mail.example.org\r\n"), answer.stderr
        until(lambda: len(messages(private_home / "alias/Maildir")) == 2, "both messages")
        for text in messages(private_home / "alias/Maildir"):
            assert " with ESMTPS (TLS_" in text
            assert " encrypted) (TLSv1.3); " in text
    finally:
        mail_system.stop()
