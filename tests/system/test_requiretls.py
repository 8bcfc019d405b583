"""REQUIRETLS through a whole mail system: offered under TLS, kept over a restart, never sent in plain text."""

import os
import signal
import smtplib
import ssl
from pathlib import Path

from tests.integration.smtpd.test_tls import put_certificate
from tests.support.mail_system import MailSystem, until
from tests.system.test_dsn import ME, TEXT, Peer


def test_a_message_that_requires_tls_waits_for_it_over_a_restart(private_home: Path) -> None:
    peer = Peer("REQUIRETLS")
    control = private_home / "control"
    (control / "rcpthosts").write_text("far.example\n")
    (control / "smtproutes").write_text(f":127.0.0.1:{peer.port}\n")
    (control / "requiretls").write_text("1\n")
    put_certificate(control / "servercert.pem", ME, "127.0.0.1")
    mail_system = MailSystem(private_home)
    try:
        with smtplib.SMTP("127.0.0.1", mail_system.port, "client.example.net", timeout=60) as client:
            client.ehlo()
            assert not client.has_extn("requiretls")
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            client.starttls(context=context)
            client.ehlo()
            assert client.has_extn("requiretls")
            client.sendmail(f"joe@{ME}", ["secret@far.example"], TEXT, ["REQUIRETLS"])
            client.sendmail(f"joe@{ME}", ["open@far.example"], TEXT)
        reason = "No_TLS_achieved_while_required_by_REQUIRETLS_of_the_sender"
        until(lambda: reason in mail_system.log(), "an attempt that finds no TLS")
        until(lambda: "DATA" in peer.received, "the mail without REQUIRETLS")
        assert "RCPT TO:<secret@far.example>" not in peer.received
        mail_system.stop()
        attempts = mail_system.log().count(reason)
        mail_system.start()
        process = mail_system.process
        assert process is not None

        def is_tried_again() -> bool:
            os.kill(process.pid, signal.SIGALRM)
            return mail_system.log().count(reason) > attempts

        until(is_tried_again, "an attempt after the restart")
    finally:
        mail_system.stop()
        peer.listener.close()
    assert "RCPT TO:<secret@far.example>" not in peer.received
