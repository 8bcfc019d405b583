"""Findings of check about settings: every remark of a parser, and relations between files that lose or refuse mail."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from eqmail_core.control.controls import Controls
from eqmail_core.programs.qmail_newmrh import main
from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.checks import start_scripts as service_scripts
from eqmail_setup.errors import Severity
from eqmail_setup.settings.validation import UNREADABLE, ControlsModel, check_settings

HEALTHY = {
    "me": "mail.example.org\n",
    "defaultdomain": "example.org\n",
    "plusdomain": "example.org\n",
    "locals": "mail.example.org\n",
    "rcpthosts": "mail.example.org\n.sub.example.org\n",
}


@pytest.fixture
def control(tmp_path: Path) -> Path:
    folder = tmp_path / "control"
    folder.mkdir()
    for name, text in HEALTHY.items():
        (folder / name).write_text(text)
    return folder


def remarks(control: Path) -> list[str]:
    return [f"{item.file}: {item.found}" for item in check_settings(Site(home=str(control.parent)))]


def test_a_healthy_installation_has_no_findings(control: Path) -> None:
    assert remarks(control) == []


@pytest.mark.parametrize(
    ("file", "text", "remark"),
    [
        ("me", "\n", "me: is empty; every host has a name"),
        ("smtplisten", "smtp\n", "smtplisten: 'smtp' is not ADDRESS:PORT"),
        ("databytes", "lots\n", "databytes: is not a number, the default 0 is in force"),
        ("concurrencylocal", "10 \n20\n", "concurrencylocal: only the first line is read"),
        ("defaulthost", "a host\n", "defaulthost: is not a host name"),
        ("virtualdomains", "nocolon\n", "virtualdomains: the line 'nocolon' has no colon"),
        ("virtualdomains", "Mail.Example.org:joe\n", "virtualdomains: mail.example.org is also in locals, which wins"),
        ("virtualdomains", "v.example:joe\n", "rcpthosts: lacks v.example, so mail for it from other hosts is refused"),
        ("locals", "new.example\n", "rcpthosts: lacks new.example, so mail for it from other hosts is refused"),
        ("morercpthosts", "x.example\n", "morercpthosts.cdb: missing"),
        ("locls", "x\n", "locls: no program reads this file in control"),
        ("concurrencyincoming", "30\n", "concurrencyincoming: of another qmail"),
        (
            "spfbehavior",
            "3\n",
            "spfbehavior: of a patch of qmail, and no program here reads it: SPF: eqmail config set authcheck mark, or "
            "enforce",
        ),
        ("plusdomain", "co.uk\n", "plusdomain: co.uk is a public suffix"),
        ("smtpcheckpw", "bin/gone /bin/true\n", "smtpcheckpw: bin/gone cannot be run, so logins fail"),
        (
            "smtpplugins",
            "[mail]\nplugins/gone\n",
            "smtpplugins: plugins/gone cannot be run, so clients are deferred",
        ),
    ],
)
def test_a_mistake_in_a_file_is_a_finding(control: Path, file: str, text: str, remark: str) -> None:
    (control / file).write_text(text)
    assert any(line.startswith(remark) for line in remarks(control))


def test_a_crlf_file_is_one_finding_with_a_fix_and_hides_no_relation(control: Path) -> None:
    (control / "locals").write_bytes(b"\xef\xbb\xbfmail.example.org\r\nnew.example\r\n")
    found = {item.file: item for item in check_settings(Site(home=str(control.parent)))}
    assert set(found) == {"locals", "rcpthosts"}
    assert "byte order mark" in found["locals"].found and "end in CR" in found["locals"].found
    assert found["locals"].repaired == b"mail.example.org\nnew.example\n"
    assert found["rcpthosts"].found == "lacks new.example, so mail for it from other hosts is refused"


def test_a_file_that_cannot_be_read_is_not_called_missing(control: Path) -> None:
    (control / "rcpthosts").unlink()
    (control / "rcpthosts").mkdir()
    (found,) = (item for item in check_settings(Site(home=str(control.parent), single_user=True)))
    assert (found.file, found.name) == ("rcpthosts", UNREADABLE)
    assert found.found.startswith("cannot be read by ")


@pytest.mark.root
@pytest.mark.parametrize(
    ("file", "mode", "who"),
    [
        ("rcpthosts", 0o600, "qmaild"),
        ("locals", 0o640, "qmails"),
        ("timeoutremote", 0o600, "qmailr, other users"),
        ("defaulthost", 0o640, "other users"),
        ("queuememory", 0o600, "qmailq"),
    ],
)
def test_a_file_unreadable_for_a_service_is_a_separate_finding(
    real_home: Path, tmp_path: Path, file: str, mode: int, who: str
) -> None:
    control = tmp_path / "control"
    control.mkdir()
    for name, text in HEALTHY.items():
        (control / name).write_text(text)
    if not (control / file).exists():
        (control / file).write_text("60\n" if file != "defaulthost" else "a.example\n")
    (control / file).chmod(mode)
    found = [item for item in check_settings(Site(home=str(tmp_path))) if item.name == UNREADABLE]
    assert [(item.file, item.found) for item in found] == [
        (file, f"cannot be read by {found[0].found.split(' by ')[1].split(': ')[0]}: root:root {mode:04o}")
    ]
    assert set(who.split(", ")) <= set(found[0].found.split(" by ")[1].split(": ")[0].split(", "))


def test_programs_are_found_from_the_home_and_by_the_path(control: Path) -> None:
    program = control.parent / "bin/it"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (control / "smtpplugins").write_text(f"[mail]\nbin/it\n{program}\n:gone\n[other]\ngone\n[rcpt]\n")
    for checker in ("bin/it true", "it", f"{program} a b", "true"):
        (control / "smtpcheckpw").write_text(checker + "\n")
        assert remarks(control) == []
    program.chmod(0o644)
    assert [line.split(":")[0] for line in remarks(control)] == ["smtpplugins", "smtpplugins"]


def test_a_domain_below_a_listed_suffix_is_accepted(control: Path) -> None:
    (control / "virtualdomains").write_text("a.sub.example.org:joe\nuser@elsewhere.example:joe\nexcepted.example:\n")
    assert remarks(control) == []


def test_a_missing_rcpthosts_is_called_what_it_is(control: Path) -> None:
    (control / "rcpthosts").unlink()
    assert "rcpthosts: missing, so this host relays for the whole world" in remarks(control)


def test_a_compiled_file_that_differs_from_its_text_is_stale(control: Path) -> None:
    (control / "morercpthosts").write_text("x.example\n")
    assert main([b"qmail-newmrh"], {b"EQMAIL_HOME": os.fsencode(control.parent)}) == 0
    os.utime(control / "morercpthosts.cdb", (1, 1))
    assert not any("morercpthosts.cdb" in line for line in remarks(control)), "touched is not changed"
    (control / "morercpthosts").write_text("y.example\n")
    assert "morercpthosts.cdb: not what morercpthosts says" in remarks(control)


def test_one_mistake_does_not_hide_another(control: Path) -> None:
    (control / "databytes").write_text("x\n")
    (control / "queuelifetime").write_text("y\n")
    (control / "rcpthosts").unlink()
    assert {line.split(":")[0] for line in remarks(control)} == {"databytes", "queuelifetime", "rcpthosts"}


def test_before_the_first_settings_nothing_is_wrong_yet(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    (found,) = check_settings(Site(home=str(tmp_path)))
    assert (found.file, found.severity) == ("me", Severity.INFO)


def test_unknown_files_and_public_suffixes_are_notes_only(control: Path) -> None:
    (control / "plusdomain").write_text("co.uk\n")
    (control / "bogus").write_text("")
    assert {item.severity for item in check_settings(Site(home=str(control.parent)))} == {Severity.INFO}


def test_the_model_has_every_declared_setting_with_its_manual_and_default() -> None:
    fields = ControlsModel.model_fields
    assert list(fields) == list(Controls.declared())
    for name, control in Controls.declared().items():
        assert (fields[name].description, fields[name].default) == (control.manual, control.default)


def test_the_model_parses_what_is_right_and_names_all_that_is_wrong() -> None:
    assert ControlsModel(databytes=b"10\n").model_dump()["databytes"] == 10
    with pytest.raises(ValidationError) as errors:
        ControlsModel(databytes=b"x\n", timeoutremote=b"y\n")
    assert [error["loc"] for error in errors.value.errors()] == [("databytes",), ("timeoutremote",)]


@pytest.mark.parametrize("name", ["concurrencyincoming", "spfbehavior", "blacklists"])
def test_a_file_that_a_start_script_reads_is_not_to_be_removed(
    control: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = control.parent / "supervise/qmail-smtpd/run"
    script.parent.mkdir(parents=True)
    script.write_text(f"#!/bin/sh\nMAX=`cat {control}/{name}`\nexec tcpserver -c $MAX 0 smtp qmail-smtpd\n")
    monkeypatch.setattr(service_scripts.readers_of_settings, "__defaults__", (("{home}/supervise/*/run",),))
    (control / name).write_text("30\n")
    (control / "unread").write_text("30\n")
    found = {item.file: item for item in check_settings(Site(home=str(control.parent)))}
    assert found[name].found == f"read by {script}, and by no program here"
    assert (found[name].severity, found[name].expected) == (Severity.WARNING, "as it is")
    assert found["unread"].severity is Severity.INFO
    assert not [item for item in found.values() if "removed" in item.expected]
