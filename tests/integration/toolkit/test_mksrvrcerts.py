"""mksrvrcerts: a key and a certificate by openssl, from servercert.cnf; what cannot be made leaves the old one."""

import os
import shutil
import stat
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.legacy import mksrvrcerts
from eqmail_setup.mail.certificates import read


def make(home: str) -> int:
    return mksrvrcerts.main([b"mksrvrcerts"], {b"EQMAIL_HOME": os.fsencode(home)})


def test_the_certificate_is_for_this_host_for_a_year(at_home: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert make(at_home) == 0
    output = capfd.readouterr().out
    control = Path(at_home, "control")
    found = read((control / "servercert.pem").read_bytes())
    assert found.names == ("mail.example.org",)
    assert found.is_self_signed and found.kind == "rsa"
    assert found.ends - found.begins == timedelta(days=365)
    assert found.fingerprint in output and "postmaster@mail.example.org" in output
    assert os.readlink(control / "clientcert.pem") == "servercert.pem"
    modes = [stat.S_IMODE((control / name).stat().st_mode) for name in ("servercert.pem", "servercert.cnf")]
    assert modes == [0o640, 0o640]
    assert "servercert.rnd" not in os.listdir(control)


def test_the_servercert_cnf_settings_count_and_a_run_can_be_rolled_back(
    at_home: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert make(at_home) == 0
    config, certificate = Path(at_home, "control/servercert.cnf"), Path(at_home, "control/servercert.pem")
    config.write_text(config.read_text().replace("DNS:mail.example.org", "DNS:a.example, DNS:b.example"))
    before, edited = certificate.read_bytes(), config.read_bytes()
    assert make(at_home) == 0
    assert "exists already and will be overwritten!" in capfd.readouterr().out
    assert read(certificate.read_bytes()).names == ("a.example", "b.example")
    assert run(["--home", at_home, "rollback"]) == 0
    assert certificate.read_bytes() == before
    assert config.read_bytes() == edited


def test_a_failed_run_keeps_the_old_certificate(at_home: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert make(at_home) == 0
    config, certificate = Path(at_home, "control/servercert.cnf"), Path(at_home, "control/servercert.pem")
    before = certificate.read_bytes()
    config.write_text("nonsense\n")
    assert make(at_home) == 1
    assert "mksrvrcerts: fatal: openssl made no certificate; look at " in capfd.readouterr().err
    assert certificate.read_bytes() == before


def test_without_openssl_there_is_another_way(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", at_home)
    assert make(at_home) == 1
    assert "or do without: eqmail cert make" in capfd.readouterr().err


def test_without_a_name_nothing_is_made(at_home: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "control/me").unlink()
    assert make(at_home) == 111
    assert "run config-fast FQDN first" in capfd.readouterr().err
    assert not Path(at_home, "control/servercert.pem").exists()


def test_openssl_takes_the_file_as_one(at_home: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert make(at_home) == 0
    path = f"{at_home}/control/servercert.pem"
    openssl = shutil.which("openssl")
    assert openssl
    for words in (["x509", "-noout", "-in", path], ["pkey", "-noout", "-in", path]):
        subprocess.run([openssl, *words], check=True)
