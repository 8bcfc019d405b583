"""CPU milliseconds to sign and to verify one message: python tests/benchmarks/mail_auth.py

The DNS answers at once from a table.  dkimpy, where it is installed, does the same beside it.
"""

import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from eqmail_core.dns.query import NO_SUCH_NAME, DnsAnswer  # noqa: E402
from eqmail_core.mail_auth.canonical import RELAXED, BodyHashes  # noqa: E402
from eqmail_core.mail_auth.dkim_key import ED25519, RSA, generate_private_key, public_record  # noqa: E402
from eqmail_core.mail_auth.dkim_sign import DkimSigningKey, sign  # noqa: E402
from eqmail_core.mail_auth.message_check import MessageCheck, MessageSource  # noqa: E402

PIECE = 65536
HEAD = [
    b"Received: from a.test (192.0.2.1)\n  by mx.test with ESMTPS; 1 Jan 2026 00:00:00 -0000\n",
    b"From: Joe Doe <joe@a.test>\n",
    b"To: Jane Doe <jane@b.test>\n",
    b"Subject: the minutes of the last meeting\n",
    b"Date: Thu, 1 Jan 2026 00:00:00 +0000\n",
    b"Message-ID: <20260101000000.1@a.test>\n",
    b"MIME-Version: 1.0\n",
    b"Content-Type: text/plain; charset=utf-8\n",
]
LINE = b"A line of ordinary text, as people write it to each other every day.\n"
KEYS = [DkimSigningKey(b"a.test", kind[:1], generate_private_key(kind)) for kind in (RSA, ED25519)]
RECORDS = {b"%b._domainkey.a.test" % key.selector: public_record(key.key) for key in KEYS} | {
    b"a.test": b"v=spf1 ip4:192.0.2.0/24 -all",
    b"_dmarc.a.test": b"v=DMARC1; p=reject",
}


def sign_once(body, keys):
    hashes = BodyHashes([RELAXED])
    for at in range(0, len(body), PIECE):
        hashes.feed(body[at : at + PIECE])
    return sign(HEAD, hashes.finish()[RELAXED], keys, int(time.time()))


def verify_once(fields, body):
    check = MessageCheck(MessageSource(b"192.0.2.1", b"a.test", b"joe@a.test", b"mx.test"), fields, int(time.time()))
    for at in range(0, len(body), PIECE):
        check.feed(body[at : at + PIECE])
    search = check.search()
    try:
        questions = next(search)
        while True:
            texts = [RECORDS.get(name) for _, name in questions]
            questions = search.send([DnsAnswer(texts=(text,)) if text else NO_SUCH_NAME for text in texts])
    except StopIteration as end:
        assert {it.result for it in end.value.results} == {b"pass"}
        return end.value


def measure(work, seconds=1.0):
    """Median, least and most of the CPU milliseconds of one call."""
    found = []
    until = time.monotonic() + seconds
    while time.monotonic() < until or len(found) < 5:
        start = time.process_time()
        work()
        found.append((time.process_time() - start) * 1000)
    return statistics.median(found), min(found), max(found)


def row(what, work):
    median, least, most = measure(work)
    print(f"{what:52} {median:9.3f} {least:9.3f} {most:9.3f}")


def main():
    print(f"{'CPU ms of one message':52} {'median':>9} {'min':>9} {'max':>9}")
    for size, name in ((4096, "4 KiB"), (1 << 20, "1 MiB")):
        body = LINE * (size // len(LINE))
        fields = [*sign_once(body, KEYS), *HEAD]
        row(f"{name}: sign, RSA-2048 and Ed25519", lambda: sign_once(body, KEYS))
        row(f"{name}: sign, RSA-2048", lambda: sign_once(body, KEYS[:1]))
        row(f"{name}: verify both, SPF, DMARC, ARC", lambda: verify_once(fields, body))
        try:
            import dkim
            from cryptography.hazmat.primitives import serialization as form
        except ImportError:
            continue
        wire = b"".join([*HEAD, b"\n", body]).replace(b"\n", b"\r\n")
        signed = b"".join([*fields[:1], *HEAD, b"\n", body]).replace(b"\n", b"\r\n")
        pem = KEYS[0].key.private_bytes(form.Encoding.PEM, form.PrivateFormat.TraditionalOpenSSL, form.NoEncryption())
        how = {"canonicalize": (b"relaxed", b"relaxed")}
        row(f"{name}: dkimpy, sign, RSA-2048", lambda: dkim.sign(wire, b"r", b"a.test", pem, **how))
        row(
            f"{name}: dkimpy, verify RSA-2048",
            lambda: dkim.verify(signed, dnsfunc=lambda name, timeout=5: RECORDS[name.rstrip(b".")]),
        )


if __name__ == "__main__":
    main()
