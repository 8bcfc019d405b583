"""rspamd's proxy, a milter of its own make, lets mail pass and refuses its test pattern, for both drivers."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.filtered_servers import KINDS, MESSAGE, QUEUED, open_conversation
from tests.support.mail_system import free_port
from tests.support.smtp_servers import Home

pytestmark = pytest.mark.skipif(shutil.which("rspamd") is None, reason="needs rspamd")
# The test pattern for spam, which every scanner knows; in pieces, so that none takes offence at this file.
PATTERN = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

_SETTINGS = """
options {{
    pidfile = "{0}/pid"; tempdir = "{0}"; hs_cache_dir = "{0}"; disable_hyperscan = yes; url_tld = "{0}/tld.dat";
    filters = ""; dns {{ nameserver = ["127.0.0.1:1"]; }} gtube_patterns = "all";
}}
logging {{ type = "console"; level = "error"; }}
metric {{ name = "default"; actions {{ reject = 15; add_header = 6; }} }}
worker "rspamd_proxy" {{
    bind_socket = "127.0.0.1:{1}"; milter = true; count = 1; timeout = 5s;
    upstream "local" {{ default = yes; self_scan = yes; }}
}}
"""


@pytest.fixture(scope="module")
def rspamd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running rspamd without modules."""
    folder = tmp_path_factory.mktemp("rspamd")
    (folder / "tld.dat").write_text("com\norg\ntest\n")
    port = free_port()
    (folder / "rspamd.conf").write_text(_SETTINGS.format(folder, port))
    log = (folder / "log").open("wb")
    process = subprocess.Popen(["rspamd", "-f", "-i", "-c", f"{folder}/rspamd.conf"], stdout=log, stderr=log)
    log.close()
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.1)
    yield f"inet:127.0.0.1:{port}"
    process.terminate()
    process.wait(60)


@pytest.mark.parametrize("kind", KINDS)
def test_mail_passes_and_spam_does_not(tmp_path: Path, rspamd: str, kind: str) -> None:
    home = Home(tmp_path / "home")
    home.write("milters", f"{rspamd}\n")
    with open_conversation(kind, home) as client:
        client.command(b"EHLO me.test")
        assert client.send().startswith(b"250 ok ")
        assert client.send(message=MESSAGE + PATTERN + b"\r\n") == b"554 5.7.1 Gtube pattern"
        assert client.queued() == [(b"Fjoe@a.test\0Tj@ours.test\0\0", QUEUED)]
