"""The words of `eqmail quickstart` that need no machine of their own: one user, the domain, and Dovecot."""

from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.mail import dovecot
from eqmail_setup.quickstart.imap import require_imap, restart_command
from eqmail_setup.services.deployments import DEPLOYMENTS, NONE


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "home")


def quickstart(home: str, *words: str) -> int:
    return run(["--home", home, "quickstart", "mail.example.org", "--yes", *words])


def test_one_user_gets_a_server_without_root(home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert quickstart(home, "--single-user", "--domain", "Example.ORG") == 0
    said = capsys.readouterr().out
    assert f"{home}/bin/eqmail run --smtp 127.0.0.1:2525" in said
    assert "\nexample.org. IN MX 10 mail.example.org.\n" in said
    for name in ("locals", "rcpthosts"):
        assert Path(home, "control", name).read_text() == "mail.example.org\nexample.org\n"
    assert quickstart(home, "--single-user", "--domain", "example.org") == 0
    assert capsys.readouterr().out == "No changes needed.\n"
    assert run(["--home", home, "check"]) == 0
    assert quickstart(home, "--domain", "example.net") == 0
    assert Path(home, "control/locals").read_text() == "mail.example.org\nexample.org\nexample.net\n"
    assert Path(home, "control/dkim/example.net").is_dir()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--service", "systemd"), "started by eqmail run"),
        (("--imap", "dovecot"), "gen-dovecot"),
        (("--imap", "courier"), "there is dovecot"),
        (("--domain", "a b"), "not a domain"),
    ],
)
def test_what_one_user_cannot_have_is_refused(
    words: tuple[str, ...], said: str, home: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert quickstart(home, "--single-user", *words) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert not Path(home).exists()


def test_dovecot_is_looked_at_before_anything_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    for version, said in (("", "not installed"), ("2.4.1", "another syntax")):
        monkeypatch.setattr(dovecot, "installed_version", lambda version=version: version)
        with pytest.raises(EqmailError, match=said):
            require_imap("dovecot", "systemd")


@pytest.mark.parametrize("deployment", [*DEPLOYMENTS, NONE])
def test_every_way_of_running_services_restarts_dovecot(deployment: str) -> None:
    assert "dovecot" in restart_command(deployment, False)
    assert restart_command(deployment, True)[-1] in ("dovecot", "restart", "reload")
