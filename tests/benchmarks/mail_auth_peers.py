"""CPU milliseconds of a message in OpenDKIM and rspamd, beside our own: python -m tests.benchmarks.mail_auth_peers

OpenDKIM signs and verifies as a milter, rspamd verifies by HTTP with nothing but DKIM loaded. What is counted is the CPU of
their processes, user and system, over all messages; for ours the whole check or signature of mail_auth.py. The peers' figures
have the cost of their protocol in them, as they have it in use. OpenDKIM signs by RSA alone; both keys are ours.
"""

import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from eqmail_core.mail_auth.dkim_key import private_pem
from tests.benchmarks.mail_auth import HEAD, KEYS, LINE, measure, sign_once, verify_once
from tests.support.dkim_peers import running_rspamd
from tests.support.mail_auth_harness import KEYS as HARNESS_KEYS
from tests.support.mail_auth_harness import published, signed
from tests.support.mail_system import free_port

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
CHUNK = 65535


def cpu_ms(pid):
    """CPU of a process and its children that live, in milliseconds."""
    total, children = 0, [pid]
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(entry) in children or int(fields[1]) in children:
                children.append(int(entry))
                total += int(fields[11]) + int(fields[12])
    return total * TICK_MS


class Milter:
    """A client of a milter that answers every step."""

    def __init__(self, port):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.stream = self.sock.makefile("rb")
        self.step(b"O", struct.pack("!III", 6, 0x1FF, 0))
        self.step(b"C", b"a.test\x004\x00\x19192.0.2.1\0")
        self.step(b"H", b"a.test\0")

    def step(self, letter, data=b""):
        self.sock.sendall(struct.pack("!I", len(data) + 1) + letter + data)
        found = []
        while True:
            (size,) = struct.unpack("!I", self.stream.read(4))
            found.append(self.stream.read(size))
            if found[-1][:1] in b"Ocardtyp":
                return found

    def message(self, fields, body):
        self.step(b"M", b"<joe@a.test>\0")
        self.step(b"R", b"<j@b.test>\0")
        for field in fields:
            name, _, value = field.rstrip(b"\n").partition(b":")
            self.step(b"L", name + b"\0" + value.removeprefix(b" ") + b"\0")
        self.step(b"N")
        for at in range(0, len(body), CHUNK):
            self.step(b"B", body[at : at + CHUNK])
        return self.step(b"E")


@contextmanager
def opendkim(mode):
    """A running OpenDKIM; its port and process."""
    with tempfile.TemporaryDirectory() as folder:
        port, place = free_port(), Path(folder)
        (place / "key.pem").write_bytes(private_pem(HARNESS_KEYS[b"r"]))
        (place / "key.pem").chmod(0o600)
        (place / "keys").write_text("".join(f"{n.decode()} {t.decode()}\n" for n, t in published().items()))
        (place / "conf").write_text(
            f"Socket inet:{port}@127.0.0.1\nDomain a.test\nSelector r\nKeyFile {place}/key.pem\nMode {mode}\nSyslog no\n"
            f"Canonicalization relaxed/relaxed\nInternalHosts {'192.0.2.1' if mode == 's' else '127.0.0.9'}\n"
            f"RequireSafeKeys no\nBackground no\nPidFile {place}/pid\nTestPublicKeys {place}/keys\nAlwaysAddARHeader yes\n"
        )
        process = subprocess.Popen(["opendkim", "-f", "-x", str(place / "conf")], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "opendkim does not listen"
                time.sleep(0.05)
        try:
            yield port, process.pid
        finally:
            process.kill()
            process.wait()


def per_message(pid, count, work):
    for _ in range(5):
        work()
    before = cpu_ms(pid)
    for _ in range(count):
        work()
    return (cpu_ms(pid) - before) / count


def row(what, figure):
    print(f"{what:48} {figure:9.3f}")


def main():
    print(f"{'CPU ms of one message':48} {'mean':>9}")
    for size, name, count in ((4096, "4 KiB", 400), (1 << 20, "1 MiB", 60)):
        body = LINE * (size // len(LINE))
        plain, wire = b"".join(HEAD) + b"\n" + body, body.replace(b"\n", b"\r\n")
        fields = [*sign_once(body, KEYS), *HEAD]
        row(f"{name}: eqmail, sign, RSA-2048", measure(lambda: sign_once(body, KEYS[:1]))[0])
        row(f"{name}: eqmail, sign, RSA-2048 and Ed25519", measure(lambda: sign_once(body, KEYS))[0])
        row(f"{name}: eqmail, verify both, SPF, DMARC, ARC", measure(lambda: verify_once(fields, body))[0])
        with opendkim("s") as (port, pid):
            client = Milter(port)
            answers = client.message(HEAD, wire)
            assert any(b"DKIM-Signature" in it for it in answers), answers
            row(f"{name}: opendkim, sign, RSA-2048", per_message(pid, count, lambda: client.message(HEAD, wire)))
        message = signed(plain)
        head, _, _ = message.partition(b"\n\n")
        given = (head + b"\n").replace(b"\n ", b"\r\n ").replace(b"\n\t", b"\r\n\t")
        lines = [line + b"\n" for line in given.split(b"\n") if line]
        folded = []
        for line in lines:
            if line[:1] in (b" ", b"\t"):
                folded[-1] += line
            else:
                folded.append(line)
        with opendkim("v") as (port, pid):
            client = Milter(port)
            answers = client.message(folded, wire)
            assert any(b"dkim=pass" in it for it in answers), answers
            row(f"{name}: opendkim, verify both", per_message(pid, count, lambda: client.message(folded, wire)))
        with running_rspamd() as peer:
            assert peer.verify(message) == ["pass", "pass"]
            row(f"{name}: rspamd, verify both", per_message(peer.pid, count, lambda: peer.verify(message)))


if __name__ == "__main__":
    sys.exit(main())
