"""QMTP clients that name very many recipients, or never read what they are answered."""

import subprocess
import sys
from pathlib import Path

from eqmail_core.text.framing import netstring
from tests.support.smtp_servers import Home

ROOT = Path(__file__).parents[3]

_SERVE = """
import os, sys
sys.path.insert(0, {root!r})
from eqmail_core.qmtp import server
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.site.site import Site
{change}
os.chdir({home!r})
qmtp = server.QmtpServer(Site(home={home!r}, single_user=True), dict(os.environb))
raise SystemExit(qmtp.run_qmtp(RcptHosts([b"ours.test"]), 0, 3))
"""


def serve(home: Home, change: str = "") -> "subprocess.Popen[bytes]":
    code = _SERVE.format(root=str(ROOT), home=home.site.home, change=change)
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def message(recipients: list[bytes]) -> bytes:
    return netstring(b"\nx\n") + netstring(b"a@b") + netstring(b"".join(map(netstring, recipients)))


def test_recipients_beyond_the_limit_are_deferred_and_the_others_get_the_message(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    out, _ = serve(home).communicate(message([b"%d@ours.test" % number for number in range(5)]), timeout=60)
    assert out.count(b":Kok ") == 3
    assert out.count(b":Ztoo many recipients (#4.5.3),") == 2
    ((envelope, _),) = home.queued()
    assert envelope == b"Fa@b\0T0@ours.test\0T1@ours.test\0T2@ours.test\0\0"


def test_a_client_with_endless_recipients_is_disconnected(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    process = serve(home, "server.MAX_ANSWERS = 50")
    out, _ = process.communicate(message([b"x@other.test"] * 100), timeout=60)
    assert (process.returncode, out) == (111, b"")
    assert not any(envelope for envelope, _ in home.queued())


def test_a_client_that_does_not_read_times_out(tmp_path: Path) -> None:
    process = serve(Home(tmp_path / "home"), "server.LIFETIME_S = 2.0")
    assert process.stdin is not None
    assert process.stdout is not None
    # Answers of a megabyte, which no pipe holds.
    process.stdin.write(message([b"x@other.test"] * 20_000))
    process.stdin.flush()
    assert process.wait(60) == 111
    process.stdin.close()
    process.stdout.close()
