"""OpenDKIM and Mail::DKIM verify what is signed here, and the reverse: every form, every algorithm that they know."""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from eqmail_core.mail_auth.canonical import FORMS, SIMPLE
from eqmail_core.mail_auth.dkim_key import private_pem
from tests.support.dkim_peers import Counts, Dkimpy, compare, running_rspamd
from tests.support.mail_auth_harness import KEYS, published, signed, texts, verify
from tests.support.name_server import NameServer
from tests.support.requirements import demand_programs, lack

ALL_FORMS = [(header, body) for header in FORMS for body in FORMS]
# OpenDKIM's Ed25519 signatures of simple headers hold nowhere, not with dkimpy either.
SIGNED_BY_OPENDKIM = [
    (selector, forms) for forms in ALL_FORMS for selector in (b"r", b"e") if selector == b"r" or forms[0] != SIMPLE
]
MESSAGES = [
    b"From: Joe <joe@a.test>\nTo: j@b.test\nSubject:  two\n\twords  here \n\nbody\n..dot \n\n\ta  b\n\n\n",
    b"From: joe@a.test\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\n",
    b"from:joe@a.test\nTo: a@b.test,\n  c@d.test\nTo: twice@b.test\nList-Id: <x>\n\n \n \n\nlast",
    b"From: joe@a.test\nSubject: =?utf-8?q?=C3=BC?=\nContent-Type: text/plain\n\n" + b"long \t line " * 60 + b"\n",
]
# In its test mode OpenDKIM makes one blank of those after a colon, and needs the last line end.
PLAIN_MESSAGES = [re.sub(rb"(?m)^([\w-]+:) *", rb"\1 ", message.rstrip(b"\n") + b"\n") for message in MESSAGES]
VERIFIER = """
use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Net::DNS;
Mail::DKIM::DNS::resolver(Net::DNS::Resolver->new(nameservers => ['127.0.0.1'], port => $ARGV[0]));
my $verifier = Mail::DKIM::Verifier->new();
while (<STDIN>) { $verifier->PRINT($_) }
$verifier->CLOSE;
print map { $_->algorithm . "=" . $_->result . "\\n" } $verifier->signatures;
"""
SIGNER = """
use Mail::DKIM::Signer;
my $signer = Mail::DKIM::Signer->new(Algorithm => 'rsa-sha256', Method => $ARGV[0], Domain => 'a.test',
    Selector => 'r', KeyFile => $ARGV[1]);
while (<STDIN>) { $signer->PRINT($_) }
$signer->CLOSE;
print $signer->signature->as_string;
"""


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    zone = {
        (name.decode(), "TXT"): [f'"{text.decode()[:200]}" "{text.decode()[200:]}"']
        for name, text in published().items()
    }
    with NameServer(zone) as running:
        yield running


@pytest.fixture
def opendkim() -> str:
    demand_programs("opendkim")
    return "opendkim"


@pytest.fixture
def perl() -> str:
    demand_programs("perl")
    if subprocess.run(["perl", "-MMail::DKIM", "-MNet::DNS", "-e1"], capture_output=True, timeout=60).returncode:
        lack("libmail-dkim-perl")
    return shutil.which("perl") or ""


def test_mode(program: str, folder: Path, settings: str, message: bytes) -> str:
    """The result of OpenDKIM's test mode for a message file."""
    (folder / "message").write_bytes(message.replace(b"\n", b"\r\n"))
    common = "Syslog no\nBackground no\nSocket inet:1@127.0.0.1\nUserID root\nRequireSafeKeys no\n"
    (folder / "opendkim.conf").write_text(common + settings)
    words = [program, "-x", str(folder / "opendkim.conf"), "-vvv", "-t", str(folder / "message")]
    return subprocess.run(words, capture_output=True, text=True, timeout=120).stdout


test_mode.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.root
@pytest.mark.parametrize("forms", ALL_FORMS)
@pytest.mark.parametrize("message", PLAIN_MESSAGES)
def test_opendkim_verifies_what_is_signed_here(
    forms: tuple[bytes, bytes], message: bytes, opendkim: str, names: NameServer, tmp_path: Path
) -> None:
    (tmp_path / "unbound.conf").write_text(
        'server:\n do-not-query-localhost: no\n module-config: "iterator"\n do-ip6: no\n'
        ' local-zone: "test." nodefault\n'
        f'forward-zone:\n name: "."\n forward-addr: 127.0.0.1@{names.port}\n'
    )
    text = signed(message, forms, now=int(time.time()) - 5)
    output = test_mode(opendkim, tmp_path, f"Mode v\nResolverConfiguration {tmp_path}/unbound.conf\n", text)
    field = output.partition("hname='Authentication-Results'")[2]
    assert re.findall(r"dkim=(\w+)", field) == ["pass", "pass"], output


@pytest.mark.root
@pytest.mark.parametrize(("selector", "forms"), SIGNED_BY_OPENDKIM)
@pytest.mark.parametrize("message", PLAIN_MESSAGES)
def test_what_opendkim_signs_verifies_here(
    selector: bytes, forms: tuple[bytes, bytes], message: bytes, opendkim: str, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(private_pem(KEYS[selector]))
    key.chmod(0o600)
    algorithm = "rsa-sha256" if selector == b"r" else "ed25519-sha256"
    settings = (
        f"Mode s\nDomain a.test\nSelector {selector.decode()}\nKeyFile {key}\nInternalHosts 0.0.0.0/0\n"
        f"SignatureAlgorithm {algorithm}\nCanonicalization {b'/'.join(forms).decode()}\nOversignHeaders From\n"
    )
    output = test_mode(opendkim, tmp_path, settings, message)
    found = re.search(r"hname='DKIM-Signature' hvalue='(.*?)'", output, re.DOTALL)
    assert found is not None, output
    value = found[1].replace("\r\n", "\n")
    (result,) = verify(f"DKIM-Signature: {value.lstrip(' ')}\n".encode() + message, texts(published()))
    assert result.result == b"pass", result.reason


@pytest.mark.parametrize("forms", ALL_FORMS)
@pytest.mark.parametrize("message", MESSAGES)
def test_mail_dkim_verifies_what_is_signed_here(
    forms: tuple[bytes, bytes], message: bytes, perl: str, names: NameServer
) -> None:
    text = signed(message, forms, now=int(time.time()) - 5).replace(b"\n", b"\r\n")
    if not text.endswith(b"\r\n"):
        text += b"\r\n"
    found = subprocess.run([perl, "-e", VERIFIER, str(names.port)], input=text, capture_output=True, timeout=120)
    # This one knows no Ed25519.
    assert found.stdout.startswith(b"rsa-sha256=pass\n"), found


@pytest.mark.parametrize("forms", ALL_FORMS)
@pytest.mark.parametrize("message", MESSAGES)
def test_what_mail_dkim_signs_verifies_here(
    forms: tuple[bytes, bytes], message: bytes, perl: str, tmp_path: Path
) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(
        KEYS[b"r"].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    whole = message if message.endswith(b"\n") else message + b"\n"
    words = [perl, "-e", SIGNER, b"/".join(forms).decode(), str(key)]
    made = subprocess.run(words, input=whole.replace(b"\n", b"\r\n"), capture_output=True, timeout=120)
    field = made.stdout.replace(b"\r\n", b"\n")
    (result,) = verify(field + b"\n" + whole, texts(published()))
    assert result.result == b"pass", (result.reason, field)


def test_random_messages_verify_with_dkimpy_and_the_reverse() -> None:
    found = compare(Dkimpy(), 40)
    assert found.by_peer == 80 and found.by_us > 10
    assert (found.peer_failed, found.we_failed) == (0, 0)


def test_random_messages_verify_with_rspamd() -> None:
    demand_programs("rspamd")
    with running_rspamd() as peer:
        found = compare(peer, 60)
    assert found == Counts(by_peer=found.by_peer, left_out=60 - found.by_peer // 2)
    assert found.by_peer > 20
