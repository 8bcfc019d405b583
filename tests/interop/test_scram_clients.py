"""Clients of other makers log in by SCRAM-SHA-256."""

import subprocess
from pathlib import Path

import pytest

from eqmail_core.auth.scram import keys_of
from tests.integration.smtpd.test_tls import AUTHORITY, put_certificate
from tests.support.requirements import demand_programs
from tests.support.smtp_servers import Home, Resident

pytestmark = pytest.mark.slow


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", smtpcheckpw="bin/qmail-chkpw true\n")
    users = Path(home.site.users)
    users.mkdir(exist_ok=True)
    (users / "smtpauth").write_bytes(b"joe:%b\n" % keys_of(b"pencil", b"0123456789abcdef").text())
    put_certificate(Path(home.site.control) / "servercert.pem", "localhost")
    return home


@pytest.mark.parametrize("tls", ["on", "off"])
@pytest.mark.parametrize(("password", "is_right"), [("pencil", True), ("pen", False)])
def test_msmtp_logs_in(home: Home, tmp_path: Path, tls: str, password: str, is_right: bool) -> None:
    demand_programs("msmtp")
    authority = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(authority))
    options = ["--host=localhost", "--from=joe@ours.test", "--user=joe", "--auth=scram-sha-256", f"--tls={tls}"]
    if tls == "on":
        options += ["--tls-starttls=on", f"--tls-trust-file={authority}"]
    with Resident(home) as server:
        done = subprocess.run(
            ["msmtp", *options, f"--port={server.port}", f"--passwordeval=echo {password}", "x@foreign.test"],
            input=b"Subject: t\n\nbody\n", capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) is is_right, done.stderr.decode()
        assert len(server.queued()) == is_right
    if not is_right:
        assert b"535" in done.stderr
