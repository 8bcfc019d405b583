"""Random messages, signed here and verified by others, and the reverse, in all forms and by both algorithms.

    python -m tests.support.dkim_peers --messages 10000 dkimpy
    python -m tests.support.dkim_peers --messages 10000 mailauth --modules FOLDER_WITH_NODE_MODULES
    python -m tests.support.dkim_peers --messages 10000 rspamd

The last line of the output has the counts; exit code 1 if a signature did not verify.
"""

import argparse
import base64
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

import dkim
from cryptography.hazmat.primitives import serialization

from eqmail_core.mail.header import field_name
from eqmail_core.mail_auth.canonical import FORMS
from eqmail_core.mail_auth.dkim_key import private_pem
from tests.support.mail_auth_harness import KEYS, published, signed, split, texts, verify
from tests.support.mail_system import free_port
from tests.support.name_server import NameServer

ALL_FORMS = [(header, body) for header in FORMS for body in FORMS]
ALGORITHMS = {b"r": b"rsa-sha256", b"e": b"ed25519-sha256"}
DOMAIN = b"a.test"

_WORDS = [
    "hello",
    "the",
    "minutes",
    "of",
    "a",
    "meeting",
    "x" * 60,
    "=3D",
    "caf\u00e9",
    "\u65e5\u672c",
    "a;b",
    "()",
    '"q"',
    "<",
    "--",
]
_NAMES = [
    "Subject",
    "To",
    "Cc",
    "X-Mailer",
    "Date",
    "Message-ID",
    "MIME-Version",
    "List-Id",
    "Content-Type",
    "subject",
    "Reply-To",
]
_GAPS = [" ", "  ", "\t", "\n ", "\n\t", " \n  ", ""]


class Counts(NamedTuple):
    """Signatures that the peer was to verify, and this code, and how many of each failed.

    `peer_broken`: signatures that the peer itself refuses too; `left_out`: messages that it does not understand.
    """

    by_peer: int = 0
    peer_failed: int = 0
    by_us: int = 0
    we_failed: int = 0
    peer_broken: int = 0
    left_out: int = 0


def random_message(source: random.Random) -> bytes:
    """Return a message with LF line ends: folded, repeated and empty fields, blanks, dots, empty and long lines."""
    fields = [f"From:{source.choice(_GAPS[:3])}Joe <joe@a.test>"]
    for _ in range(source.randrange(8)):
        words = [source.choice(_WORDS) + source.choice(_GAPS) for _ in range(source.randrange(1, 12))]
        text = "".join(words).rstrip() + source.choice(["", " ", "\t "])
        fields.append(f"{source.choice(_NAMES)}:{source.choice(_GAPS[:4])}{text or 'x'}")
    source.shuffle(fields)
    lines = []
    for _ in range(source.choice([0, 1, 3, 20, 200])):
        words = [source.choice(_WORDS) + source.choice([" ", "  ", "\t", " \t "]) for _ in range(source.randrange(10))]
        lines.append(source.choice(["", "", ".", " ", "".join(words)]))
    body = "\n".join(lines) + "\n" * source.randrange(1, 4) if lines else source.choice(["", "\n", "\n\n"])
    return ("\n".join(fields) + "\n\n" + body).encode()


def as_wire(message: bytes) -> bytes:
    """Return a message with CRLF line ends."""
    return message.replace(b"\n", b"\r\n")


class Peer:
    """Another implementation: `verify` returns the result of each signature, `sign` a field or None."""

    def understands(self, message: bytes) -> bool:
        """Whether the peer reads such a message as the RFCs say."""
        return True

    def verify(self, message: bytes) -> list[str]:
        """Return the results for the signatures of a message, in order, as far as the peer knows their algorithm."""
        raise NotImplementedError

    def accepts(self, message: bytes) -> bool:
        """Whether the peer verifies its own only signature."""
        return self.verify(message) == ["pass"]

    def sign(self, message: bytes, selector: bytes, forms: tuple[bytes, bytes]) -> bytes | None:
        """Return the signature field, with LF line ends; None where the peer cannot sign so."""
        raise NotImplementedError


class Dkimpy(Peer):
    """The library dkimpy."""

    def __init__(self) -> None:
        raw = serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        pem = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        self._keys = {b"r": KEYS[b"r"].private_bytes(*pem), b"e": base64.b64encode(KEYS[b"e"].private_bytes(*raw))}
        self._records = published()

    def verify(self, message: bytes) -> list[str]:
        """Verify both signatures."""
        wire = as_wire(message)

        def record(name: bytes, timeout: int = 5) -> bytes:
            return self._records[name.rstrip(b".")]

        places = range(sum(field_name(field) == b"dkim-signature" for field in split(message)[0]))
        return ["pass" if dkim.DKIM(wire).verify(place, dnsfunc=record) else "fail" for place in places]

    def sign(self, message: bytes, selector: bytes, forms: tuple[bytes, bytes]) -> bytes | None:
        """Sign; dkimpy refuses what RFC 5322 forbids, such as two fields Subject."""
        try:
            field: bytes = dkim.sign(
                as_wire(message),
                selector,
                DOMAIN,
                self._keys[selector],
                canonicalize=forms,
                signature_algorithm=ALGORITHMS[selector],
            )
        except dkim.MessageFormatError:
            return None
        return field.replace(b"\r\n", b"\n")


class Mailauth(Peer):
    """The library mailauth for Node.js; `modules`: the folder whose node_modules has it."""

    def __init__(self, modules: str) -> None:
        script = Path(__file__).with_name("dkim_peer.mjs")
        self._process = subprocess.Popen(
            ["node", str(script), str(Path(modules).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._records = {name.decode(): text.decode() for name, text in published().items()}
        self._pems = {selector: private_pem(key).decode() for selector, key in KEYS.items()}

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def verify(self, message: bytes) -> list[str]:
        """Verify both signatures."""
        found = self._ask({"verify": base64.b64encode(as_wire(message)).decode(), "keys": self._records})
        results = found["results"]
        assert isinstance(results, list)
        return [str(result) for result in results]

    def sign(self, message: bytes, selector: bytes, forms: tuple[bytes, bytes]) -> bytes | None:
        """Sign."""
        order = {
            "sign": base64.b64encode(as_wire(message)).decode(),
            "domain": DOMAIN.decode(),
            "selector": selector.decode(),
            "algorithm": ALGORITHMS[selector].decode(),
            "pem": self._pems[selector],
            "forms": b"/".join(forms).decode(),
        }
        found = self._ask(order)
        assert not found["errors"], found
        return str(found["fields"]).encode().replace(b"\r\n", b"\n")

    def _ask(self, order: dict[str, object]) -> dict[str, object]:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        found: dict[str, object] = json.loads(self._process.stdout.readline())
        return found


_RSPAMD = """
options {{
    pidfile = "{0}/pid"; tempdir = "{0}"; hs_cache_dir = "{0}"; disable_hyperscan = yes; url_tld = "{0}/tld.dat";
    filters = "dkim"; dns {{ nameserver = ["127.0.0.1:{2}"]; timeout = 30s; retransmits = 3; }} local_addrs = [];
}}
logging {{ type = "console"; level = "error"; }}
metric {{ name = "default"; actions {{ reject = 1000; }}
    symbol {{ name = "R_DKIM_ALLOW"; weight = 0; }} symbol {{ name = "R_DKIM_REJECT"; weight = 0; }} }}
dkim {{ dkim_cache_size = 2k; trusted_only = false; skip_multi = false; check_authed = true; check_local = true; }}
worker "normal" {{ bind_socket = "127.0.0.1:{1}"; count = 1; }}
"""


class Rspamd(Peer):
    """A running rspamd, which verifies."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self.pid = pid

    def understands(self, message: bytes) -> bool:
        """Not fields that come twice, nor a body of blanks: of these dkimpy, mailauth and OpenDKIM say what we say."""
        fields, body = split(message)
        names = [field_name(field) for field in fields]
        return len(names) == len(set(names)) and bool(body.strip())

    def verify(self, message: bytes) -> list[str]:
        """Verify both signatures; the options of its symbols name the domain and the sign of the result."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("POST", "/checkv2", as_wire(message), {"IP": "192.0.2.1"})
        found = json.loads(connection.getresponse().read())
        connection.close()
        results = []
        for name, result in (("R_DKIM_ALLOW", "pass"), ("R_DKIM_REJECT", "fail"), ("R_DKIM_TEMPFAIL", "temperror")):
            symbol = found.get("symbols", {}).get(name)
            results += [result] * len(symbol.get("options", ())) if symbol else []
        return results

    def sign(self, message: bytes, selector: bytes, forms: tuple[bytes, bytes]) -> bytes | None:
        """Nothing: it signs relaxed/relaxed only, behind a policy of its own."""
        return None


@contextmanager
def running_rspamd() -> Iterator[Rspamd]:
    """An rspamd with nothing but DKIM, which asks a name server with the keys."""
    zone = {
        (name.decode(), "TXT"): [f'"{text.decode()[:200]}" "{text.decode()[200:]}"']
        for name, text in published().items()
    }
    with tempfile.TemporaryDirectory() as folder, NameServer(zone) as names:
        Path(folder).chmod(0o777)
        (Path(folder) / "tld.dat").write_text("com\norg\ntest\n")
        port = free_port()
        (Path(folder) / "rspamd.conf").write_text(_RSPAMD.format(folder, port, names.port))
        with (Path(folder) / "log").open("wb") as log:
            command = ["rspamd", "-f", "-i", "-c", f"{folder}/rspamd.conf"]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 60
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=1).close()
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < deadline, (Path(folder) / "log").read_text()
                    time.sleep(0.1)
            yield Rspamd(port, process.pid)
        finally:
            process.terminate()
            process.wait(60)


def compare(
    peer: Peer, count: int, seed: int = 1, on_failure: Callable[[str, bytes], object] = lambda *_: None
) -> Counts:
    """Sign and verify `count` random messages with a peer, both ways."""
    source = random.Random(seed)
    by_peer = peer_failed = by_us = we_failed = peer_broken = left_out = 0
    for number in range(count):
        forms = ALL_FORMS[number % len(ALL_FORMS)]
        message = random_message(source)
        if not peer.understands(message):
            left_out += 1
            continue
        ours = signed(message, forms)
        results = peer.verify(ours)
        by_peer += len(KEYS)
        failed = len(KEYS) - results.count("pass")
        if failed:
            on_failure(f"{type(peer).__name__} says {results} of {forms}", ours)
        peer_failed += failed
        selector = (b"r", b"e")[number // len(ALL_FORMS) % 2]
        field = peer.sign(message, selector, forms)
        if field is not None:
            by_us += 1
            theirs = field + message
            found = [it.result.decode() for it in verify(theirs, texts(published()))]
            if found != ["pass"] and not peer.accepts(theirs):
                peer_broken += 1
            elif found != ["pass"]:
                we_failed += 1
                on_failure(f"we say {found} of {type(peer).__name__}, {forms}, {selector!r}", theirs)
    return Counts(by_peer, peer_failed, by_us, we_failed, peer_broken, left_out)


def main() -> int:
    """Run the comparison that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("dkimpy", "mailauth", "rspamd"))
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--modules", default=".")
    given = parser.parse_args()

    def show(what: str, message: bytes) -> None:
        print(what, message[-600:], file=sys.stderr)

    with ExitStack() as stack:
        peer: Peer
        if given.peer == "dkimpy":
            peer = Dkimpy()
        elif given.peer == "mailauth":
            peer = Mailauth(given.modules)
            stack.callback(peer.close)
        else:
            peer = stack.enter_context(running_rspamd())
        found = compare(peer, given.messages, given.seed, show)
    ours = f"{found.by_peer} signatures of ours, {found.peer_failed} failed there"
    theirs = f"{found.by_us} of theirs, {found.we_failed} failed here, {found.peer_broken} there too"
    print(f"{given.peer}: {given.messages - found.left_out} messages; {ours}; {theirs}")
    return int(bool(found.peer_failed or found.we_failed))


if __name__ == "__main__":
    sys.exit(main())
