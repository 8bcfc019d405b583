"""OpenDKIM, a milter on libmilter, signs what both drivers receive; the signature holds for the bytes in the queue."""

import base64
import hashlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from tests.support.filtered_servers import KINDS, open_conversation
from tests.support.mail_system import free_port
from tests.support.smtp_servers import Home

pytestmark = pytest.mark.skipif(shutil.which("opendkim") is None, reason="needs opendkim")
MESSAGE = (
    b"From: Joe <joe@ours.test>\r\nTo: j@ours.test\r\nSubject:  two\r\n\twords  here\r\n\r\nbody\r\n..dot \r\n\r\n"
)


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(params=["simple/simple", "relaxed/relaxed"])
def opendkim(tmp_path: Path, key: rsa.RSAPrivateKey, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a running OpenDKIM that signs for ours.test."""
    pem = tmp_path / "key.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    pem.chmod(0o600)
    port = free_port()
    settings = tmp_path / "opendkim.conf"
    settings.write_text(
        f"Socket inet:{port}@127.0.0.1\nDomain ours.test\nSelector sel\nKeyFile {pem}\nMode s\nSyslog no\n"
        f"Canonicalization {request.param}\nInternalHosts 127.0.0.1\nRequireSafeKeys no\nBackground no\n"
        f"PidFile {tmp_path}/pid\nOversignHeaders From\n"
    )
    process = subprocess.Popen(["opendkim", "-f", "-x", str(settings)], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "opendkim does not listen"
            time.sleep(0.05)
    yield f"inet:127.0.0.1:{port}"
    process.kill()  # it takes its time to say goodbye
    process.communicate(timeout=60)


def relaxed(field: bytes) -> bytes:
    """A header field as RFC 6376 section 3.4.2 has it, without its end."""
    name, _, value = field.partition(b":")
    return name.lower().strip() + b":" + re.sub(rb"[ \t]+", b" ", value.replace(b"\r\n", b"")).strip()


def verify(message: bytes, key: rsa.RSAPublicKey) -> None:
    """Check the first DKIM-Signature of a message with LF line ends.  Source: RFC 6376 sections 3.4, 3.5, 3.7."""
    text = message.replace(b"\n", b"\r\n")
    head, _, body = text.partition(b"\r\n\r\n")
    fields = re.split(rb"\r\n(?![ \t])", head)
    signature = next(field for field in fields if field.lower().startswith(b"dkim-signature:"))
    tags = dict(
        re.sub(rb"\s", b"", tag).split(b"=", 1) for tag in signature.partition(b":")[2].split(b";") if tag.strip()
    )
    is_relaxed = tags[b"c"] == b"relaxed/relaxed"
    if is_relaxed:
        body = b"\r\n".join(re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n"))
    body = re.sub(rb"(\r\n)*$", b"", body) + b"\r\n"
    assert base64.b64encode(hashlib.sha256(body).digest()) == tags[b"bh"]
    shaped = relaxed if is_relaxed else bytes
    signed = b""
    left = list(reversed(fields))
    for name in tags[b"h"].lower().split(b":"):
        found = next((field for field in left if field.partition(b":")[0].lower() == name), None)
        if found is not None:
            left.remove(found)
            signed += shaped(found) + b"\r\n"
    signed += shaped(re.sub(rb"([;\s]b=)[^;]*", rb"\1", signature))
    key.verify(base64.b64decode(tags[b"b"]), signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lines", [0, 5000])
def test_what_is_signed_is_what_is_queued(
    tmp_path: Path, opendkim: str, key: rsa.RSAPrivateKey, kind: str, lines: int
) -> None:
    home = Home(tmp_path / "home")
    home.write("milters", f"{opendkim}\n")
    with open_conversation(kind, home) as client:
        client.command(b"EHLO me.test")
        answer = client.send(message=MESSAGE + b"a line of some length, and \tmore\r\n" * lines)
        assert answer.startswith(b"250 ok ")
        ((_, text),) = client.queued()
    assert text.startswith(b"DKIM-Signature:")
    verify(text, key.public_key())
