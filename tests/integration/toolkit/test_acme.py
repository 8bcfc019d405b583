"""`eqmail cert acme` against a real ACME server: every challenge, renewal, and what goes wrong."""

import functools
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from acme import messages

from eqmail_setup import periodic
from eqmail_setup.acme import renewal
from eqmail_setup.acme.account import Failures, read_failures
from eqmail_setup.acme.renewal import LONGEST_PAUSE_S, after_failure
from eqmail_setup.acme.request import AcmeNetwork
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.mail.certificates import new_key, pair_trouble, read, self_signed
from tests.support.acme_server import AcmeServer, is_here
from tests.support.name_server import NameServer, Zone
from tests.support.update_server import UpdateServer

pytestmark = pytest.mark.skipif(not is_here(), reason="needs pebble")
NAME, OTHER = "mail.example.org", "mx.example.org"
Command = Callable[..., tuple[int, str]]


def test_a_request_is_repeated_with_other_nonces_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[messages.Error] = []

    def post_once(*_: object) -> str:
        if refusals:
            raise refusals.pop()
        return "accepted"

    network = AcmeNetwork(None)
    monkeypatch.setattr(network, "_post_once", post_once)
    refusals += [messages.Error.with_code("badNonce")] * 5
    assert network.post("url") == "accepted"
    for many in ([messages.Error.with_code("badNonce")] * 6, [messages.Error.with_code("malformed")]):
        refusals += many
        with pytest.raises(messages.Error):
            network.post("url")
        assert not refusals


@pytest.fixture
def records() -> Iterator[tuple[Zone, NameServer]]:
    """The names that the authority looks up: both lead here."""
    zone: Zone = {(name, "A"): ["127.0.0.1"] for name in (NAME, OTHER)}
    with NameServer(zone) as server:
        yield zone, server


@pytest.fixture
def authority(tmp_path: Path, records: tuple[Zone, NameServer]) -> Iterator[AcmeServer]:
    folder = tmp_path / "pebble"
    folder.mkdir()
    with AcmeServer(folder, records[1].port) as server:
        yield server


@pytest.fixture
def eqmail(at_home: str, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command; exit code and everything that was written."""

    def command(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = run(["--home", at_home, *words])
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return command


def options(authority: AcmeServer) -> list[str]:
    return ["--server", authority.url, "--ca", str(authority.ca), "--agree-tos", "--email", "pm@example.org"]


def certificate(home: str) -> bytes:
    return Path(home, "control/servercert.pem").read_bytes()


def test_a_certificate_is_proved_by_http_and_put_in_place(eqmail: Command, authority: AcmeServer, at_home: str) -> None:
    code, text = eqmail("cert", "acme", NAME, OTHER, "--http", str(authority.http_port), *options(authority))
    assert code == 0, text
    found = read(certificate(at_home))
    assert set(found.names) == {NAME, OTHER} and not found.is_self_signed
    assert pair_trouble(certificate(at_home)) == "" and "cert timer --install" in text
    assert Path(at_home, "control/servercert.pem").stat().st_mode & 0o077 == 0
    assert Path(at_home, "acme").stat().st_mode & 0o777 == 0o700
    assert Path(at_home, "acme/account.pem").stat().st_mode & 0o777 == 0o600
    history = "".join(path.read_text("latin-1") for path in Path(at_home, "history").rglob("*") if path.is_file())
    assert Path(at_home, "acme/account.pem").read_text().splitlines()[1] not in history


def test_a_renewal_keeps_the_key_and_waits_for_its_time(eqmail: Command, authority: AcmeServer, at_home: str) -> None:
    assert eqmail("cert", "acme", "--http", str(authority.http_port), *options(authority))[0] == 0
    before = certificate(at_home)
    code, text = eqmail("cert", "renew")
    assert code == 0 and certificate(at_home) == before, text
    assert eqmail("cert", "renew", "--force")[0] == 0
    after = certificate(at_home)
    assert read(after).fingerprint != read(before).fingerprint and read(after).tlsa == read(before).tlsa
    assert eqmail("cert", "renew", "--force", "--new-key")[0] == 0
    assert read(certificate(at_home)).tlsa != read(after).tlsa


def test_a_web_server_can_show_the_proof(eqmail: Command, authority: AcmeServer, at_home: str, tmp_path: Path) -> None:
    root = tmp_path / "www"
    root.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", authority.http_port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code, text = eqmail("cert", "acme", NAME, "--webroot", str(root), *options(authority))
        server.shutdown()
    assert code == 0, text
    assert [path for path in root.rglob("*") if path.is_file()] == []


def test_tls_can_show_the_proof(eqmail: Command, authority: AcmeServer, at_home: str) -> None:
    code, text = eqmail("cert", "acme", NAME, OTHER, "--alpn", str(authority.alpn_port), *options(authority))
    assert code == 0, text
    assert set(read(certificate(at_home)).names) == {NAME, OTHER}


def test_a_hook_can_show_the_proof_in_the_dns(
    eqmail: Command, authority: AcmeServer, at_home: str, tmp_path: Path, records: tuple[Zone, NameServer]
) -> None:
    hook, log = tmp_path / "hook", tmp_path / "hook.log"
    # A hook ends when the record can be seen.
    seen = tmp_path / "seen"
    hook.write_text(f'#!/bin/sh\necho "$@" >>{log}\nuntil test -e {seen}; do sleep 0.05; done\n')
    hook.chmod(0o755)
    zone, _ = records

    is_over = threading.Event()

    def publish() -> None:
        """Serve what the hook has written."""
        while not is_over.wait(0.01):
            for line in log.read_text().splitlines() if log.exists() else []:
                verb, name, value = line.split()
                if verb == "add":
                    zone[name, "TXT"] = [f'"{value}"']
                    seen.touch()

    publisher = threading.Thread(target=publish)
    publisher.start()
    code, text = eqmail("cert", "acme", NAME, "--dns", str(hook), *options(authority))
    is_over.set()
    publisher.join()
    assert code == 0, text
    verbs = [line.split()[0] for line in log.read_text().splitlines()]
    assert verbs == ["add", "remove"]


def test_a_proof_that_is_not_seen_is_said_in_a_line(eqmail: Command, authority: AcmeServer, at_home: str) -> None:
    code, text = eqmail("cert", "acme", NAME, "--http", str(authority.alpn_port), *options(authority))
    assert code == ExitCode.FAILED and NAME in text and "Traceback" not in text
    assert not Path(at_home, "control/servercert.pem").exists()


def test_nothing_is_requested_without_consent_or_for_invalid_names(eqmail: Command, authority: AcmeServer) -> None:
    words = ["--server", authority.url, "--ca", str(authority.ca)]
    assert eqmail("cert", "acme", NAME, *words)[0] == ExitCode.USAGE
    for bad in (["not_a_host"], [NAME, "--http", "80", "--alpn", "443"], ["*.example.org"]):
        assert eqmail("cert", "acme", *bad, *words, "--agree-tos")[0] == ExitCode.USAGE
    code, text = eqmail("cert", "acme", NAME, *words, "--agree-tos", "--dry-run")
    assert code == 0 and "Would request" in text


def test_no_authority_is_said_and_counted(
    eqmail: Command, authority: AcmeServer, at_home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert eqmail("cert", "acme", "--http", str(authority.http_port), *options(authority))[0] == 0
    order = Path(at_home, "acme/certificate.json")
    order.write_text(json.dumps(json.loads(order.read_text()) | {"server": "https://127.0.0.1:1/dir"}))
    sent: list[object] = []
    monkeypatch.setattr(renewal, "_notify", lambda *words: sent.append(words))
    site = load_site(at_home)
    assert site is not None
    for count in (1, 2, 3, 4):
        code, text = eqmail("cert", "renew", "--force")
        assert code == ExitCode.FAILED and "127.0.0.1:1" in text and "Traceback" not in text
        assert read_failures(site).in_a_row == count
    assert len(sent) == 1
    assert eqmail("cert", "renew")[0] == 0, "it waits until the pause is over"


def test_pauses_grow_to_a_day() -> None:
    failures, now = Failures(0, 0.0, ""), 1e9
    pauses = []
    for _ in range(8):
        failures = after_failure(failures, now, "no", 1.0)
        pauses.append(failures.retry_at - now)
    assert pauses == [3600 * 2**n for n in range(5)] + [LONGEST_PAUSE_S] * 3


def test_a_timer_runs_the_renewal_twice_a_day(at_home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = load_site(at_home)
    assert site is not None
    monkeypatch.setattr(periodic, "SYSTEMD_RUNS", str(tmp_path))
    units = periodic.job_files(site, periodic.RENEWAL)
    assert [os.path.basename(path) for path in units] == ["eqmail-cert.service", "eqmail-cert.timer"]
    assert all(sys.executable in text.decode() for path, text in units.items() if path.endswith(".service"))
    monkeypatch.setattr(periodic, "SYSTEMD_RUNS", str(tmp_path / "none"))
    monkeypatch.setattr(periodic, "CRON", str(tmp_path))
    ((_, text),) = periodic.job_files(site, periodic.RENEWAL).items()
    minute, hours, *_ = text.decode().splitlines()[1].split()
    assert 0 <= int(minute) < 60 and int(hours.split(",")[1]) - int(hours.split(",")[0]) == 12


def test_renewal_is_due_after_two_thirds_where_the_authority_says_nothing(
    eqmail: Command, authority: AcmeServer, at_home: str
) -> None:
    from eqmail_setup.acme.account import read_order
    from eqmail_setup.acme.request import renewal_due

    assert eqmail("cert", "acme", "--http", str(authority.http_port), *options(authority))[0] == 0
    site = load_site(at_home)
    assert site is not None
    order, found = read_order(site), read(certificate(at_home))
    assert order is not None
    order = order._replace(server="https://127.0.0.1:1/dir")
    life = found.ends - found.begins
    begins = found.begins.replace(tzinfo=UTC)
    assert not renewal_due(site, order, certificate(at_home), begins + life * 0.6)
    assert renewal_due(site, order, certificate(at_home), begins + life * 0.7)
    assert renewal_due(site, order._replace(names=("new.example.org",)), certificate(at_home), datetime.now(UTC))
    assert life > timedelta(days=1)


SECRET = "c2VjcmV0IG9mIHRoZSB0ZXN0cw=="


def key_file(folder: Path, name: str = "acme.", secret: str = SECRET) -> str:
    path = folder / "update.key"
    path.write_text(f'key "{name}" {{\n\talgorithm hmac-sha256;\n\tsecret "{secret}";\n}};\n')
    return str(path)


def test_updates_can_show_the_proof_in_the_dns(
    eqmail: Command, authority: AcmeServer, at_home: str, tmp_path: Path, records: tuple[Zone, NameServer]
) -> None:
    zone, _ = records
    with UpdateServer("example.org", zone, "acme.", SECRET) as server:
        way = ["--dns", "rfc2136", "--dns-server", f"127.0.0.1:{server.port}", "--dns-key", key_file(tmp_path)]
        code, text = eqmail("cert", "acme", NAME, OTHER, *way, *options(authority))
        assert code == 0, text
        assert set(read(certificate(at_home)).names) == {NAME, OTHER}
        assert [key for key in zone if key[1] == "TXT"] == []
        assert {name for name, texts in server.updates if texts} == {f"_acme-challenge.{it}" for it in (NAME, OTHER)}
        code, text = eqmail("cert", "renew", "--force")
        assert code == 0, text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "needs --dns-server"),
        (["--dns-server", "127.0.0.1:x", "--dns-key", "{key}"], "is no name server"),
        (["--dns-server", "127.0.0.1:{port}", "--dns-key", "{wrong}"], "refuses|TSIG|peer"),
        (["--dns-server", "127.0.0.1:{port}", "--dns-key", "{none}"], "holds no key"),
    ],
)
def test_updates_that_are_not_possible_are_named(
    eqmail: Command,
    authority: AcmeServer,
    tmp_path: Path,
    records: tuple[Zone, NameServer],
    words: list[str],
    said: str,
) -> None:
    for name in ("wrong", "none"):
        (tmp_path / name).mkdir()
    (tmp_path / "none/update.key").write_text("nothing\n")
    places = {"key": key_file(tmp_path), "wrong": key_file(tmp_path / "wrong", "other.")}
    places["none"] = str(tmp_path / "none/update.key")
    with UpdateServer("example.org", records[0], "acme.", SECRET) as server:
        given = [word.format(port=server.port, **places) for word in words]
        code, text = eqmail("cert", "acme", NAME, "--dns", "rfc2136", *given, *options(authority))
    assert code != 0 and re.search(said, text) and "Traceback" not in text, text


def test_a_new_key_waits_until_its_tlsa_record_is_published(
    eqmail: Command, authority: AcmeServer, at_home: str, zone: Zone
) -> None:
    assert eqmail("cert", "acme", "--http", str(authority.http_port), *options(authority))[0] == 0
    old = read(certificate(at_home)).tlsa
    zone[(f"_25._tcp.{NAME}", "TLSA")] = [f"3 1 1 {old}"]
    code, text = eqmail("cert", "acme", "--new-key", "--http", str(authority.http_port), *options(authority))
    assert code != 0 and read(certificate(at_home)).tlsa == old
    (wanted,) = re.findall(r"IN TLSA 3 1 1 ([0-9a-f]{64})", text)
    assert Path(at_home, "acme/next-key.pem").stat().st_mode & 0o777 == 0o600
    assert wanted in eqmail("cert", "acme", "--new-key", "--http", str(authority.http_port), *options(authority))[1]
    zone[(f"_25._tcp.{NAME}", "TLSA")].append(f"3 1 1 {wanted}")
    code, text = eqmail("cert", "acme", "--new-key", "--http", str(authority.http_port), *options(authority))
    assert code == 0, text
    assert read(certificate(at_home)).tlsa == wanted and not Path(at_home, "acme/next-key.pem").exists()


def test_quickstart_obtains_the_certificate_of_an_authority(authority: AcmeServer, at_home: str) -> None:
    from eqmail_setup.quickstart.certificate import AUTHORITIES, SELF_SIGNED, obtain_certificate, order_of

    site = load_site(at_home)
    assert site is not None and order_of(NAME, SELF_SIGNED) is None
    assert all(url.startswith("https://") for url in AUTHORITIES.values())
    order = order_of(NAME, "letsencrypt")
    assert order is not None and order.argument == "80"
    order = order._replace(server=authority.url, ca=str(authority.ca), argument=str(authority.http_port))
    steps: list[str] = []
    assert obtain_certificate(site, order, "quickstart", steps.append) > 0
    assert read(certificate(at_home)).names == (NAME,) and len(steps) == 2


def test_the_hook_of_certbot_puts_its_certificate_in_place(eqmail: Command, at_home: str, tmp_path: Path) -> None:
    code, text = eqmail("cert", "hook", "certbot")
    assert code == 0
    hook, live = tmp_path / "hook", tmp_path / "live"
    live.mkdir()
    hook.write_text(text)
    hook.chmod(0o755)
    pair = self_signed(new_key("ecdsa"), [NAME], datetime.now(UTC), 90)
    for name in ("fullchain.pem", "privkey.pem"):
        (live / name).write_bytes(pair)
    for domains, expected in (("www.example.org", False), (f"www.example.org {NAME}", True)):
        environ = os.environ | {"RENEWED_LINEAGE": str(live), "RENEWED_DOMAINS": domains}
        done = subprocess.run([str(hook)], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        installed = Path(at_home, "control/servercert.pem")
        assert installed.exists() == expected
    assert read(installed.read_bytes()).tlsa == read(pair).tlsa
