"""qmail-remote: C's arguments in, C's report out; with name servers where a route does not spare them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_core.dns.resolver import BlockingResolver
from eqmail_core.remote.qmail_remote import deliver_once
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from tests.support.name_server import NameServer
from tests.support.scripted_server import ScriptedServer

CODE = """
import os, sys
from eqmail_core.programs.qmail_remote import main
code = main([os.fsencode(word) for word in sys.argv], dict(os.environb))
print(*sorted(name for name in sys.modules if name in ("asyncio", "dns", "ssl", "typing", "random")), file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "control").mkdir()
    (tmp_path / "control/me").write_text("me.test\n")
    return tmp_path


def remote(home: Path, *words: str) -> tuple[bytes, bytes]:
    result = subprocess.run(
        [sys.executable, "-IS", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{CODE}", *words],
        input=b"Subject: x\n\nbody\n",
        capture_output=True,
        timeout=60,
        env=os.environ | {"EQMAIL_HOME": str(home)},
        check=True,
    )
    return result.stdout, result.stderr


def test_a_message_goes_by_its_route_without_a_name_server_or_its_machinery(home: Path) -> None:
    offers = {"ehlo": "250-x\n250 STARTTLS", "star": "454 not now"}
    with ScriptedServer(offers) as server:
        (home / "control/smtproutes").write_text(f":127.0.0.1:{server.port}\n")
        report, loaded = remote(home, "host.test", "s@x", "a@host.test", "b@host.test")
    assert report == b"r\0r\0K127.0.0.1 accepted message.\nRemote host said: 250 queued\n\0"
    assert loaded == b"\n"


def test_a_missing_home_is_reported(home: Path) -> None:
    assert remote(home / "none", "h", "s", "r")[0] == b"ZUnable to switch to home directory. (#4.3.0)\n\0"


def test_exchangers_are_found_and_tried_in_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone = {
        ("host.test", "MX"): ["1 dead.test.", "2 alive.test."],
        ("dead.test", "A"): ["127.0.0.9"],
        ("alive.test", "A"): ["127.0.0.9", "127.0.0.2"],
    }
    message = os.memfd_create("message")
    os.write(message, b"a\n")
    os.lseek(message, 0, os.SEEK_SET)
    kept = os.dup(0)
    os.dup2(message, 0)
    try:
        with NameServer(zone) as names, ScriptedServer(host="127.0.0.2") as server:
            (home / "control/smtproutes").write_text(f"::{server.port}\n")
            site = Site(home=str(home), single_user=True)
            ask = BlockingResolver(["127.0.0.1"], names.port).answer
            report = deliver_once(site, read_controls(site), [b"host.test", b"s@x", b"r@host.test"], ask)
    finally:
        os.dup2(kept, 0)
        os.close(kept)
        os.close(message)
    assert report == b"r\0K127.0.0.2 accepted message.\nRemote host said: 250 queued\n\0"
