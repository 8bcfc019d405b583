"""Findings of well-known scanners on our server: its TLS, and open relaying.

docs/scans.md has their output.
"""

import json
import re
import smtplib
import subprocess
import xml.etree.ElementTree as xml
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_clients import BOX, ClientMailSystem, client_mail_system
from tests.support.mail_system import until

pytestmark = pytest.mark.slow
ELSEWHERE = "elsewhere.test"


@pytest.fixture(scope="module")
def mail_system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClientMailSystem]:
    with client_mail_system(tmp_path_factory.mktemp("scanners") / "home") as mail_system:
        yield mail_system


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=150).stdout


@pytest.mark.parametrize("method", ["starttls", "first"])
def test_sslscan_finds_nothing_old_or_weak(method: str, mail_system: ClientMailSystem) -> None:
    target = (
        [f"127.0.0.1:{mail_system.tls_port}"]
        if method == "first"
        else ["--starttls-smtp", f"127.0.0.1:{mail_system.port}"]
    )
    (found,) = xml.fromstring(run("sslscan", "--xml=-", *target)).iter("ssltest")
    spoken = {f"{it.get('type')}{it.get('version')}" for it in found.iter("protocol") if it.get("enabled") == "1"}
    assert spoken == {"tls1.2", "tls1.3"}
    assert [it.get("supported") for it in found.iter("renegotiation")] == ["0"]
    assert {it.get("vulnerable") for it in found.iter("heartbleed")} == {"0"}
    ciphers = [(it.get("cipher") or "", int(it.get("bits") or 0)) for it in found.iter("cipher")]
    assert len(ciphers) > 3
    for name, bits in ciphers:
        assert bits >= 128, name
        assert re.match("TLS_(AES|CHACHA20)|ECDHE-|DHE-", name), f"{name} has no forward secrecy"
        assert not re.search("RC4|3?DES|NULL|EXP|MD5|SEED|IDEA|CAMELLIA|ADH|AECDH", name), name


def test_testssl_finds_no_renegotiation_and_no_compression(mail_system: ClientMailSystem, tmp_path: Path) -> None:
    words = ["--quiet", "--warnings", "off", "--ip", "one", "-R", "-C", "--jsonfile", str(tmp_path / "found.json")]
    run("testssl", *words, "--starttls", "smtp", f"127.0.0.1:{mail_system.port}")
    found = {it["id"]: it["severity"] for it in json.loads((tmp_path / "found.json").read_text())}
    assert found["secure_renego"] == found["secure_client_renego"] == found["CRIME_TLS"] == "OK"


def nmap(mail_system: ClientMailSystem) -> str:
    scripts = "+smtp-commands,+smtp-open-relay"
    words = f"smtp-open-relay.domain={ELSEWHERE},smtp-open-relay.to=stranger"
    port = str(mail_system.port)
    return run("nmap", "-n", "-Pn", "-vv", "-p", port, "--script", scripts, "--script-args", words, "127.0.0.1")


def test_nmap_sees_the_extensions_and_relays_nothing(mail_system: ClientMailSystem) -> None:
    output = nmap(mail_system)
    assert "smtp-commands: mail.example.org" in output
    assert "STARTTLS, PIPELINING, 8BITMIME" in output
    accepted = re.findall(r"-> RCPT TO:<(.*)>", output)
    assert not [address for address in accepted if address.endswith(f"@{ELSEWHERE}")]
    with smtplib.SMTP("127.0.0.1", mail_system.port, timeout=60) as client:
        for address in accepted:
            client.sendmail(BOX, [f"<{address}>"], "Subject: whose?\r\n\r\n")
    until(lambda: mail_system.log().count(": message accepted: ") >= len(accepted), "every message")
    until(lambda: mail_system.log().count("\nend msg ") >= 2 * len(accepted), "the end of each and of its bounce")
    assert " to remote " not in mail_system.log()


def test_nmap_gets_nothing_accepted_where_recipients_are_looked_up(mail_system: ClientMailSystem) -> None:
    rcptcheck = mail_system.home / "control/rcptcheck"
    rcptcheck.write_text("*\n")
    mail_system.stop()
    mail_system.start()
    assert "smtp-open-relay: Server doesn't seem to be an open relay, all tests failed" in nmap(mail_system)
    rcptcheck.unlink()
