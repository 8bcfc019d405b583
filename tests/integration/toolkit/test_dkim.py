"""`eqmail dkim` and `eqmail dmarc`: keys that the remote service alone can read, and that take over when published."""

import json
import stat
from pathlib import Path

import pytest

from eqmail_core.mail_auth.key_states import parse_states
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.mail.dkim import OVERLAP_S, keys_of, plan_generate, plan_rotate, records
from eqmail_setup.mail.dns_zone import record_context
from eqmail_setup.network.records import zone_text
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.plan import apply_changes
from tests.support.error_text import is_one_error
from tests.support.name_server import Zone

NOW = 1_800_000_000.0
DOMAIN = "example.org"


class Keys:
    """The keys of an installation, and a DNS that has what `publish` put there."""

    def __init__(self, home: str) -> None:
        self.site = Site(home=home, single_user=True)
        self.filesystem = DiskFilesystem(home)
        self.dns: dict[str, list[str]] = {}

    def generate(self, now: float = NOW) -> None:
        apply_changes(plan_generate(self.site, self.filesystem, DOMAIN, now), self.filesystem, lambda _: None)

    def rotate(self, now: float) -> list[str]:
        step = plan_rotate(self.site, self.filesystem, DOMAIN, now, lambda name: self.dns.get(name, []))
        apply_changes(step.changes, self.filesystem, lambda _: None)
        return step.notes

    def publish(self) -> None:
        self.dns = {name: [text] for name, text in records(self.site, self.filesystem, DOMAIN)}

    def states(self) -> list[tuple[str, str]]:
        return [(key.selector, key.state) for key in keys_of(self.site, self.filesystem, DOMAIN)]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    (tmp_path / "control").mkdir()
    return Keys(str(tmp_path))


def test_the_first_pair_signs_and_later_ones_wait(keys: Keys) -> None:
    keys.generate()
    assert keys.states() == [("r20270115", "active"), ("e20270115", "active")]
    keys.generate()
    assert keys.states()[2:] == [("r20270115-2", "new"), ("e20270115-2", "new")]


def test_new_keys_sign_when_the_dns_has_them_and_old_ones_go_a_week_later(keys: Keys) -> None:
    keys.generate()
    keys.publish()
    day = NOW + 86400
    assert "publish the new records" in keys.rotate(day)[0]
    assert [state for _, state in keys.states()] == ["active", "active", "new", "new"]
    assert len(keys.rotate(day)) == 2
    assert [state for _, state in keys.states()] == ["active", "active", "new", "new"]
    keys.publish()
    assert keys.rotate(day) == []
    assert [state for _, state in keys.states()] == ["retiring", "retiring", "active", "active"]
    assert keys.rotate(day + OVERLAP_S - 1) == [f"{DOMAIN}: the retired keys stay until a week is over"]
    notes = keys.rotate(day + OVERLAP_S)
    assert notes == [f"{name}20270115._domainkey.{DOMAIN}: signs no more; its record may go" for name in "re"]
    assert keys.states() == [("r20270116", "active"), ("e20270116", "active")]
    folder = Path(keys.site.home, "control/dkim", DOMAIN)
    assert sorted(path.name for path in folder.iterdir()) == [
        "e20270116.pem",
        "e20270116.txt",
        "r20270116.pem",
        "r20270116.txt",
        "states",
    ]


def test_a_record_of_another_key_does_not_count(keys: Keys) -> None:
    keys.generate()
    keys.generate()
    keys.publish()
    keys.dns["r20270115-2._domainkey.example.org"] = ["v=DKIM1; k=rsa; p=AAAA", "spam"]
    assert keys.rotate(NOW) == ["r20270115-2._domainkey.example.org: not in the DNS yet"]


def test_a_domain_without_keys_cannot_rotate(keys: Keys) -> None:
    with pytest.raises(EqmailError, match="eqmail dkim generate"):
        keys.rotate(NOW)


def test_keys_put_there_by_hand_are_active(keys: Keys) -> None:
    folder = Path(keys.site.home, "control/dkim", DOMAIN)
    folder.mkdir(parents=True)
    (folder / "default.pem").touch()
    assert keys.states() == [("default", "active")]


def test_commands_make_show_check_and_test_keys(at_home: str, zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    eqmail = ["--home", at_home, "dkim"]
    folder = Path(at_home, "control/dkim", DOMAIN)
    assert run([*eqmail, "generate", DOMAIN, "--diff"]) == 0
    assert "PRIVATE" not in capsys.readouterr().out
    assert not folder.exists()
    assert run([*eqmail, "generate", DOMAIN]) == 0
    for path in folder.glob("*.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert len(parse_states((folder / "states").read_bytes())) == 2
    capsys.readouterr()
    assert run([*eqmail, "check", DOMAIN]) == ExitCode.PROBLEMS
    assert run([*eqmail, "test", DOMAIN]) == ExitCode.PROBLEMS
    assert "permerror (no key)" in capsys.readouterr().out
    assert run([*eqmail, "record", DOMAIN]) == 0
    for line in capsys.readouterr().out.splitlines():
        name, _, _, text = line.split(" ", 3)
        zone[name.removesuffix("."), "TXT"] = [text]
    assert len(zone) == 2
    assert run([*eqmail, "check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [key["dns"] for key in found["keys"]] == ["ok", "ok"]
    assert run([*eqmail, "test", DOMAIN, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["results"].values()) == {"pass"}
    text = zone_text(record_context(Site(home=at_home, single_user=True), DOMAIN))
    assert text.count("._domainkey.example.org. IN TXT") == 2


@pytest.mark.parametrize("words", [["record", "none.test"], ["check", "none.test"], ["rotate", "none.test"]])
def test_a_domain_without_keys_is_reported(words: list[str], at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "dkim", *words]) == ExitCode.FAILED
    assert is_one_error(capsys.readouterr().err)


def test_the_policy_of_a_domain_is_found_as_receivers_find_it(zone: Zone, capsys: pytest.CaptureFixture[str]) -> None:
    zone["_dmarc.example.org", "TXT"] = ['"v=DMARC1; p=reject; sp=quarantine; adkim=s; rua=mailto:r@example.org"']
    zone["news.example.org", "A"] = ["192.0.2.1"]
    assert run(["dmarc", "news.example.org", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["published_at"], found["policy"], found["dkim"]) == ("example.org", "quarantine", "strict")
    assert run(["dmarc", "news.example.org"]) == 0
    assert "_dmarc.example.org" in capsys.readouterr().out
    assert run(["dmarc", "other.test"]) == 0
    assert "no policy" in capsys.readouterr().out
