"""Users: entries that programs take, a database that is C's byte for byte, homes that belong to their users."""

import json
import os
import pwd
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_core.system.cdb import write_cdb
from eqmail_core.users.database import compile_users
from eqmail_setup.cli.app import run
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.mail import users
from eqmail_setup.mail.assign_file import AssignEntry, Assignments, compile_assign
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from tests.conftest import eqmail
from tests.support.error_text import is_one_error

CHECKOUT = Path(__file__).parents[3]
ASSIGN = (
    b"=Foo:foo:100:200:/h/foo:::extra\n+Foo+:foo:100:200:/h/foo:-::\n+List-:l:1:2:/h:-:pre-:\n+:alias:3:4:/h/a:-::\n.\n"
)


def test_the_database_is_that_of_the_reference(tmp_path: Path) -> None:
    records = [
        (b"!foo\0", b"foo\x00100\x00200\0/h/foo\0\0"),
        (b"!foo+", b"foo\x00100\x00200\0/h/foo\0-\0"),
        (b"!list-", b"l\x001\x002\0/h\0-\0pre-"),
        (b"!", b"alias\x003\x004\0/h/a\0-\0"),
        (b"", b"+-"),
    ]
    write_cdb(str(tmp_path / "cdb"), str(tmp_path / "tmp"), records)
    assert compile_assign(ASSIGN) == (tmp_path / "cdb").read_bytes()


def test_a_new_user_has_an_entry_a_maildir_and_a_database(at_home: str) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    ids = f"{os.getuid()}:{os.getgid()}"
    home = f"{at_home}/users/foo"
    text = f"=foo:foo:{ids}:{home}:::\n+foo+:foo:{ids}:{home}:-::\n.\n"
    assert Path(at_home, "users/assign").read_text() == text
    made = Path(at_home, "users/cdb").read_bytes()
    compile_users(Site(home=at_home), text.encode().splitlines(keepends=True))
    assert Path(at_home, "users/cdb").read_bytes() == made
    assert sorted(os.listdir(f"{home}/.Maildir")) == ["cur", "new", "tmp"]
    assert Path(home, ".qmail").read_text() == "./.Maildir/\n"
    assert os.stat(f"{home}/.Maildir/tmp").st_mode & 0o777 == 0o700


@pytest.mark.root
def test_a_user_without_account_owns_its_home(real_home: Path) -> None:
    made = eqmail("--home", real_home, "user", "add", "foo", "--ids", "65534:65533")
    assert made.returncode == 0, made.stderr
    home = real_home / "users/foo"
    for path in (home, home / ".Maildir", home / ".Maildir/new", home / ".qmail"):
        seen = path.stat()
        assert (seen.st_uid, seen.st_gid) == (65534, 65533)
    assert (home / ".Maildir").stat().st_mode & 0o7777 == 0o700
    assert eqmail("--home", real_home, "user", "add", "foo", "--ids", "65534:65533").stdout == "No changes needed.\n"
    assert eqmail("--home", real_home, "user", "add", "r", "--ids", "0:0").returncode == ExitCode.USAGE
    assert eqmail("--home", real_home, "user", "add", "nosuchaccount").returncode == ExitCode.USAGE
    assert eqmail("--home", real_home, "user", "remove", "foo", "--discard-mail").returncode == 0
    assert not (home / ".Maildir").exists()


@pytest.mark.root
@pytest.mark.parametrize(
    "words",
    [
        ["alias", "add", "x", "a@b.example"],
        ["user", "add", "x", "--ids", "1:1"],
        ["domain", "add", "x.example"],
        ["config", "set", "databytes", "1"],
        ["history"],
        ["rollback"],
        ["doctor", "--offline"],
    ],
    ids=lambda words: words[0],
)
def test_commands_that_need_root_say_so_to_other_users(real_home: Path, words: list[str]) -> None:
    ended = eqmail("--home", real_home, *words, user="nobody", cwd=CHECKOUT)
    assert ended.returncode == ExitCode.PERMISSION
    assert ended.stderr.splitlines()[-1].startswith("eqmail: ")
    assert "Traceback" not in ended.stderr


@pytest.mark.root
def test_a_link_of_a_user_does_not_redirect_root(real_home: Path, tmp_path: Path) -> None:
    home = real_home / "users/evil"
    home.mkdir()
    os.symlink(tmp_path, home / ".Maildir")
    os.chown(home, 65534, 65533)
    made = eqmail("--home", real_home, "user", "add", "evil", "--ids", "65534:65533")
    assert made.returncode == ExitCode.FAILED
    assert is_one_error(made.stderr)
    assert list(tmp_path.iterdir()) == []


def test_removing_a_user_keeps_the_mail_by_default(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    message = Path(at_home, "users/foo/.Maildir/new/1")
    message.write_text("hello\n")
    assert run(["--home", at_home, "user", "remove", "foo"]) == 0
    assert "--discard-mail removes it, which cannot be undone" in capsys.readouterr().out
    assert message.exists()
    assert Path(at_home, "users/assign").read_bytes() == b".\n"
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    assert run(["--home", at_home, "user", "remove", "foo", "--discard-mail"]) == 0
    assert not message.parent.exists()


def test_other_lines_stay_byte_for_byte(at_home: str) -> None:
    path = Path(at_home, "users/assign")
    path.write_bytes(b"xOdd:o:1:2:/o:::more:fields\n+:alias:3:4:/a:-::\n. the end\nnotes\n")
    assert run(["--home", at_home, "user", "add", "foo", "--no-maildir", "--no-extensions"]) == 0
    lines = path.read_bytes().splitlines()
    assert lines[:2] == [b"xOdd:o:1:2:/o:::more:fields", b"+:alias:3:4:/a:-::"]
    assert lines[3:] == [b". the end", b"notes"]


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["add", "a/b"], ExitCode.USAGE, "is not a local part"),
        (["add", "a\x07b"], ExitCode.USAGE, "is not a local part"),
        (["add", ".."], ExitCode.USAGE, "/users/.. cannot be the home of a user"),
        (["add", "."], ExitCode.USAGE, "/users/. cannot be the home of a user"),
        (["add", "assign"], ExitCode.USAGE, "/users/assign cannot be the home of a user"),
        (["add", "a:b"], ExitCode.USAGE, "no colons"),
        (["add", "foo", "--ids", "x:y"], ExitCode.USAGE, "x:y"),
        (["add", "foo", "--home-of-user", "relative"], ExitCode.USAGE, "begins with a slash"),
        (["add", "foo", "--home-of-user", "/nonexistent/foo"], ExitCode.FAILED, "/nonexistent: missing"),
        (["add", "foo", "--maildir", "../x"], ExitCode.USAGE, "--maildir ../x"),
        (["add", "old"], ExitCode.FAILED, "line 1 says =old:x:7:7:/x:::; --replace replaces it"),
        (["show", "foo"], ExitCode.FAILED, "user foo: not found"),
        (["import-passwd", "/nonexistent"], ExitCode.FAILED, "/nonexistent: does not exist"),
        (["import-passwd", "/dev/null"], ExitCode.FAILED, "unable to find alias user"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    at_home: str, words: list[str], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assign = Path(at_home, "users/assign")
    assign.write_bytes(b"=old:x:7:7:/x:::\n.\n")
    capsys.readouterr()
    assert run(["--home", at_home, "user", *words]) == code
    output = capsys.readouterr().err
    assert sentence in output
    assert is_one_error(output)
    assert assign.read_bytes() == b"=old:x:7:7:/x:::\n.\n"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"=a:b\n.\n", "line 1: '=a:b' is no entry"),
        (b"=a:a:1:2:/a:::\nnonsense\n.\n", "line 2: 'nonsense' is no entry"),
        (b"=a:a:1:2:/a:::\n", "line 2: the end is missing"),
    ],
)
def test_a_file_that_programs_would_not_take_is_named_with_its_line(
    at_home: str, content: bytes, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(at_home, "users/assign").write_bytes(content)
    for words in (["compile"], ["list"], ["add", "foo", "--no-maildir"]):
        capsys.readouterr()
        assert run(["--home", at_home, "user", *words]) == ExitCode.FAILED
        assert sentence in capsys.readouterr().err
    assert Path(at_home, "users/assign").read_bytes() == content


def test_a_database_whose_text_is_lost_is_not_replaced(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path(at_home, "users/cdb").write_bytes(compile_assign(ASSIGN))
    assert run(["--home", at_home, "user", "add", "foo", "--no-maildir"]) == ExitCode.FAILED
    assert "restore it first" in capsys.readouterr().err


def test_accounts_are_imported_and_other_entries_stay(
    at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = f"{os.getuid() or 4711}:1"
    home = tmp_path / "joe"
    home.mkdir()
    if os.getuid() == 0:
        os.chown(home, 4711, 1)
    Path("accounts").write_text(
        f"root:x:0:0::/root:/bin/sh\njoe:x:{ids}::{home}:/bin/sh\nalias:x:{ids}::{home}:/bin/sh\n"
    )
    Path(at_home, "users/assign").write_bytes(b"=other:o:7:7:/o:::\n.\n")
    assert run(["--home", at_home, "user", "import-passwd", "accounts"]) == 0
    lines = Path(at_home, "users/assign").read_text().splitlines()
    assert lines[0] == "=other:o:7:7:/o:::"
    assert f"=joe:joe:{ids}:{home}:::" in lines
    assert f"+joe+:joe:{ids}:{home}:-::" in lines
    assert f"+:alias:{ids}:{home}:-::" in lines
    assert not [line for line in lines if line[1:].startswith("root")]
    capsys.readouterr()
    assert run(["--home", at_home, "user", "import-passwd", "accounts"]) == 0
    assert capsys.readouterr().out == "No changes needed.\n"
    assert run(["--home", at_home, "user", "show", "joe", "--json"]) == 0
    assert [item["local"] for item in json.loads(capsys.readouterr().out)["users"]] == ["joe", "joe+"]


def test_an_entry_that_is_there_twice_is_there_once_after_a_replacement() -> None:
    assignments = Assignments("assign", b"=a:a:1:1:/a:::\n=A:b:2:2:/b:::\n.\n")
    entry = AssignEntry("a", False, "c", 3, 3, "/c")
    with pytest.raises(EqmailError):
        assignments.put([entry], replace=False)
    assignments.put([entry], replace=True)
    assert assignments.content() == b"=a:c:3:3:/c:::\n.\n"


def test_the_maildir_of_the_default_delivery_is_that_of_new_users(at_home: str) -> None:
    Path(at_home, "control/defaultdelivery").write_text("./Maildir/\n")
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    assert Path(at_home, "users/foo/Maildir/new").is_dir()
    assert Path(at_home, "users/foo/.qmail").read_text() == "./Maildir/\n"


def test_discarding_follows_the_qmail_file_of_the_user(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "user", "add", "foo", "--maildir", "Post"]) == 0
    home = Path(at_home, "users/foo")
    (home / ".qmail-list").write_text("./Lists/\n")
    (home / "Lists").mkdir()
    capsys.readouterr()
    assert run(["--home", at_home, "user", "remove", "foo", "--discard-mail", "--yes"]) == 0
    assert not (home / "Post").exists()
    assert (home / "Lists").is_dir()
    assert "Lists: not a Maildir, kept as it is" in capsys.readouterr().out


def test_a_qmail_file_that_delivers_otherwise_is_named(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    home = Path(at_home, "users/foo")
    home.mkdir()
    (home / ".qmail").write_text("|vacation\n./Old/\n")
    assert run(["--home", at_home, "user", "add", "foo"]) == 0
    assert ".qmail: delivers to |vacation ./Old/, kept as it is" in capsys.readouterr().out


def test_a_redirection_of_an_account_is_reported(at_home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    account = pwd.struct_passwd(("joe", "x", os.getuid(), os.getgid(), "", f"{at_home}/users/joe", "/bin/sh"))
    monkeypatch.setattr(users.pwd, "getpwnam", lambda name: account)
    site = load_site(at_home)
    assert site is not None
    entry = users.entry_for(site, "joe", "", "", "")
    found = users.plan_add(site, DiskFilesystem(at_home), entry, "Post", True, False, False)
    assert any("new mail goes to ./Post/ instead of ./Mailbox" in item.line() for item in found)
