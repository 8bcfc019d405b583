"""Aliases: the files that a delivery looks for, and the refusal of what would not deliver."""

import json
import os
from pathlib import Path

import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from tests.support.error_text import is_one_error


def test_the_aliases_of_every_host_lead_to_one_person(at_home: str) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    alias = Path(at_home, "alias")
    assert (alias / ".qmail-root").read_text() == "joe@elsewhere.example\n"
    assert (alias / ".qmail-postmaster").read_text() == "root\n"
    assert os.readlink(alias / ".qmail-mailer-daemon") == ".qmail-postmaster"
    assert os.readlink(alias / ".qmail-abuse") == ".qmail-postmaster"
    assert (alias / ".qmail-root").stat().st_mode & 0o7777 == 0o644


def test_what_exists_is_never_overwritten_by_init(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    postmaster = Path(at_home, "alias/.qmail-postmaster")
    postmaster.write_text("&me@here.example\n")
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    assert postmaster.read_text() == "&me@here.example\n"
    assert run(["--home", at_home, "alias", "add", "postmaster", "joe@elsewhere.example"]) == ExitCode.FAILED
    assert "--replace replaces it" in capsys.readouterr().err
    assert run(["--home", at_home, "alias", "add", "postmaster", "joe@elsewhere.example", "--replace"]) == 0
    assert postmaster.read_text() == "joe@elsewhere.example\n"


def test_a_name_with_dots_and_capitals_is_found_by_the_delivery(at_home: str) -> None:
    assert run(["--home", at_home, "alias", "add", "First.Last", "joe@elsewhere.example"]) == 0
    assert Path(at_home, "alias/.qmail-first:last").exists()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["add", "a/b", "joe@x.example"], ExitCode.USAGE, "is not a local part"),
        (["add", "a@b", "joe@x.example"], ExitCode.USAGE, "is not a local part"),
        (["add", "", "joe@x.example"], ExitCode.USAGE, "is not a local part"),
        (["add", "a", "# nothing"], ExitCode.USAGE, "is no target"),
        (["add", "a", "joe@"], ExitCode.USAGE, "is not an address"),
        (["add", "a", "<joe@x.example>"], ExitCode.USAGE, "is not an address"),
        (["add", "a", "joe@x.example,ann@x.example"], ExitCode.USAGE, "is not an address"),
        (["add", "a", "Joe<joe@x.example>"], ExitCode.USAGE, "is not an address"),
        (["add", "a", "./Maildir/\r"], ExitCode.USAGE, "ends in CR"),
        (["add", "a", "joe@x.exam\u200bple"], ExitCode.USAGE, "what cannot be seen"),
        (["add", "a", "joe smith@x.example"], ExitCode.USAGE, "is not an address"),
        (["add", "a", "joe@x.example\n|evil"], ExitCode.USAGE, "more than one line"),
        (["add", "a"], ExitCode.USAGE, "Missing argument"),
        (["add", "a", "nosuchperson"], ExitCode.FAILED, "unknown local recipient 'nosuchperson'"),
        (
            ["add", "a", "nosuchperson@mail.example.org"],
            ExitCode.FAILED,
            "unknown local recipient 'nosuchperson@mail.example.org'",
        ),
        (["add", "a", "a"], ExitCode.FAILED, "mail would loop"),
        (["show", "a"], ExitCode.FAILED, "not found"),
    ],
)
def test_what_would_not_deliver_is_refused_in_one_line(
    at_home: str, words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["--home", at_home, "alias", *words]) == code
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)


def test_a_circle_is_refused_however_long(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, target in (("one", "joe@x.example"), ("two", "one"), ("three", "two@mail.example.org")):
        assert run(["--home", at_home, "alias", "add", name, target]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "alias", "add", "one", "three", "--replace"]) == ExitCode.FAILED
    assert "mail would loop" in capsys.readouterr().err
    assert Path(at_home, "alias/.qmail-one").read_text() == "joe@x.example\n"


def test_an_alias_that_others_are_links_to_stays(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "alias", "remove", "postmaster"]) == ExitCode.FAILED
    assert "abuse, mailer-daemon would point to nothing" in capsys.readouterr().err


def test_init_for_another_user_reports_that_root_is_kept(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    assert capsys.readouterr().out == "No changes needed.\n"
    assert run(["--home", at_home, "alias", "init", "ann@elsewhere.example"]) == 0
    output = capsys.readouterr().out
    assert "kept so; for ann@elsewhere.example: eqmail alias add root ann@elsewhere.example --replace\n" in output
    assert output.endswith("No changes needed.\n")


def test_aliases_are_listed(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@elsewhere.example"]) == 0
    assert run(["--home", at_home, "alias", "add", "first.last", "root", "./copies/"]) == 0
    capsys.readouterr()
    assert run(["--home", at_home, "alias", "list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ALIAS          TYPE              GOES TO",
        "abuse          link              postmaster",
        "first.last     address, maildir  root, ./copies/",
        "mailer-daemon  link              postmaster",
        "postmaster     address           root",
        "root           address           joe@elsewhere.example",
        "5 aliases",
    ]
    assert run(["--home", at_home, "alias", "show", "root", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["aliases"][0]["lines"] == ["joe@elsewhere.example"]


def test_a_crlf_file_is_listed_found_and_repaired(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "alias", "init", "joe@x.example"]) == 0
    path = Path(at_home, "alias/.qmail-sales")
    path.write_bytes(b"# ours\r\n./Maildir/\r\n")
    wrong = Path(at_home, "alias/.qmail-wrong")
    wrong.write_bytes(b"&<joe@x.example>\n")
    capsys.readouterr()
    run(["--home", at_home, "alias", "show", "sales"])
    assert "./Maildir/\\r" in capsys.readouterr().out
    run(["--home", at_home, "explain", "sales"])
    assert "Maildir/\\r" in capsys.readouterr().out
    run(["--home", at_home, "doctor", "--offline", "--only", "aliases"])
    output = capsys.readouterr().out
    assert "aliases.misread" in output and ".qmail-sales: 2 lines" in output
    assert ".qmail-wrong: '<joe@x.example>' is not an address" in output
    run(["--home", at_home, "check", "--fix"])
    assert path.read_bytes() == b"# ours\n./Maildir/\n"
    assert wrong.read_bytes() == b"&<joe@x.example>\n"
