"""Checks in Python, found in a distribution that pip has installed, and asked by both drivers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_core.filters import check_loading
from tests.support.filtered_servers import KINDS, QUEUED, open_conversation
from tests.support.smtp_servers import Home

EXAMPLE = Path(__file__).resolve().parents[2] / "data/smtpcheck"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed the example; nothing comes from a network."""
    folder = tmp_path_factory.mktemp("checks")
    source = folder / "source"
    (source / "src").mkdir(parents=True)
    for name in ("pyproject.toml", "src/example_smtpcheck.py"):
        (source / name).write_text((EXAMPLE / name).read_text())
    words = ["install", "-q", "--no-index", "--no-deps", "--no-build-isolation", "--target", str(folder / "site")]
    run = subprocess.run(
        [sys.executable, "-m", "pip", *words, str(source)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return folder / "site"


@pytest.fixture(autouse=True)
def found(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(installed))
    yield
    check_loading._loaded.clear()
    sys.modules.pop("example_smtpcheck", None)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def test_the_example_of_the_documentation(kind: str, home: Home) -> None:
    home.write("smtpchecks", "doorman\n")
    with open_conversation(kind, home) as client:
        assert client.command(b"MAIL FROM:<a@slow.test>") == b"451 come back in an hour (#4.7.1)"
        assert client.command(b"MAIL FROM:<joe@a.test>") == b"250 ok"
        assert client.command(b"RCPT TO:<secret@ours.test>") == b"550 nobody here by that name (#5.1.1)"
        client.command(b"RSET")
        assert client.send(message=b"Subject: a virus\r\n\r\n") == b"550 no viruses, please (#5.7.1)"
        assert client.send(b"j@ours.test", b"k@ours.test").startswith(b"250 ok ")
        (queued,) = client.queued()
        assert queued[1] == b"X-Doorman: 127.0.0.1 10\n\t2\n" + QUEUED


def test_header_fields_of_every_stage(kind: str, home: Home) -> None:
    home.write("smtpchecks", "stamp\n")
    with open_conversation(kind, home, TCPREMOTEHOST="client.test") as client:
        client.command(b"HELO first")
        client.command(b"HELO second")
        client.send()
        client.send(b"k@ours.test")
        texts = [text for _, text in client.queued()]
    assert all(text.startswith(b"X-Client: ") for text in texts)
    assert texts[0].partition(b"\n")[2] == b"X-Helo: second\nX-To: j@ours.test\n" + QUEUED
    assert texts[1].partition(b"\n")[2] == b"X-Helo: second\nX-To: k@ours.test\n" + QUEUED


class TestRelayPermission:
    """Relaying is refused unless a check allows it explicitly."""

    def test_stays_closed_for_clients_that_a_check_accepts(self, kind: str, home: Home) -> None:
        home.write("smtpchecks", "accepts\nlends\n")  # the second is not asked: the first was sure
        with open_conversation(kind, home) as client:
            client.command(b"HELO friend")
            client.command(b"MAIL FROM:<friend@a.test>")
            assert client.command(b"RCPT TO:<x@friend.test>").startswith(b"553 sorry, that domain isn't in my list")
            assert client.command(b"RCPT TO:<j@ours.test>") == b"250 ok"

    def test_opens_for_a_recipient(self, kind: str, home: Home) -> None:
        home.write("smtpchecks", "lends\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<a@b>")
            assert client.command(b"RCPT TO:<x@friend.test>") == b"250 ok"
            assert client.command(b"RCPT TO:<y@friend.test>").startswith(b"553")

    def test_opens_for_a_message(self, kind: str, home: Home) -> None:
        home.write("smtpchecks", "lends\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<friend@a.test>")
            assert client.command(b"RCPT TO:<y@any.test>") == b"250 ok"
            client.command(b"RSET")
            client.command(b"MAIL FROM:<a@b>")
            assert client.command(b"RCPT TO:<y@any.test>").startswith(b"553")

    def test_opens_for_a_client(self, kind: str, home: Home) -> None:
        home.write("smtpchecks", "lends\n")
        with open_conversation(kind, home) as client:
            client.command(b"HELO friend")
            for _ in range(2):
                client.command(b"MAIL FROM:<a@b>")
                assert client.command(b"RCPT TO:<y@any.test>") == b"250 ok"
                client.command(b"RSET")

    @pytest.mark.parametrize("letter", ["A", "N"])
    def test_stays_closed_for_clients_that_a_plugin_accepts(self, kind: str, home: Home, letter: str) -> None:
        plugin = Path(home.site.home) / "plugin"
        plugin.write_text(f"#!/bin/sh\necho {letter}\n")
        plugin.chmod(0o755)
        home.write("smtpplugins", f"[connection]\n[mail]\n{plugin}\n[rcpt]\n{plugin}\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<a@b>")
            assert client.command(b"RCPT TO:<x@any.test>").startswith(b"553")

    def test_opens_where_a_plugin_permits_it(self, kind: str, home: Home) -> None:
        plugin = Path(home.site.home) / "plugin"
        plugin.write_text('#!/bin/sh\n[ "$SMTPRCPTTO" = x@any.test ] && echo O\n')
        plugin.chmod(0o755)
        home.write("smtpplugins", f"[rcpt]\n{plugin}\n")
        with open_conversation(kind, home) as client:
            client.command(b"MAIL FROM:<a@b>")
            assert client.command(b"RCPT TO:<x@any.test>") == b"250 ok"
            assert client.command(b"RCPT TO:<y@any.test>").startswith(b"553")


class TestFaults:
    """A check that is missing, raises, times out or returns an invalid answer."""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("raises", b"check raises: recipient: ZeroDivisionError: division by zero; "),
            ("nonsense", b"check nonsense: recipient: returned str, which is no answer; "),
            ("broken", b"check broken: loading it failed: AttributeError"),
            ("empty", b"check empty: it has none of the methods connected, data, hello, "),
            ("unheard-of", b"check unheard-of: no installed distribution has an entry point unheard-of"),
        ],
    )
    @pytest.mark.parametrize(
        ("default", "answer"), [("", b"451"), ("default=accept", b"250"), ("default=reject", b"5")]
    )
    def test_a_failing_check_gives_the_verdict_of_its_entry(
        self, kind: str, home: Home, name: str, words: bytes, default: str, answer: bytes
    ) -> None:
        home.write("smtpchecks", f"{name} {default}\n")
        with open_conversation(kind, home) as client:
            received = client.greeting
            if received.startswith(b"220"):
                received = client.command(b"MAIL FROM:<a@b>")
            if received.startswith(b"250"):
                received = client.command(b"RCPT TO:<j@ours.test>")
            assert received.startswith(answer)
            assert b"Error" not in received and b"Traceback" not in received
            if client.server is not None:
                assert client.server.complaints[0].startswith(words)

    def test_a_slow_check_delays_no_other_client(self, kind: str, home: Home) -> None:
        home.write("smtpchecks", "sleeps timeout=1\n")
        with open_conversation(kind, home) as client:
            assert client.command(b"MAIL FROM:<plain@a.test>").startswith(b"451")
            assert client.command(b"MAIL FROM:<a@b>") == b"250 ok"
            assert client.command(b"RCPT TO:<j@ours.test>").startswith(b"451")
            assert client.command(b"NOOP") == b"250 ok"
