"""`eqmail user passwd`: what it writes, qmail-chkpw believes; what it is not about stays byte for byte."""

import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.auth.crypt import crypted
from eqmail_core.auth.secrets_file import entries, find_secret
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.mail import credentials as smtp_logins
from eqmail_setup.transaction.filesystem import PathInfo
from eqmail_setup.transaction.operations import WriteFile

# From the reference implementation: argon2 0123456789abcdef -id -t 1 -k 64 -p 1, for the password x.
ARGON2 = "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$nExs6F5aSyFdCBFWsDPERSu6Kn58pvJNrPEVy1YGfGk"


class OneFileSystem(NamedTuple):
    """A world of one file."""

    content: bytes

    def display_path(self, path: str) -> str:
        return path

    def stat(self, path: str) -> PathInfo:
        return PathInfo(PathKind.FILE, Permissions("a", "b", 0o400), len(self.content), False)

    def read_link(self, path: str) -> None:
        return None

    def read(self, path: str) -> bytes:
        return self.content


LOGIN = st.text(st.characters(codec="ascii", min_codepoint=33, exclude_characters=":#\x7f"), min_size=1, max_size=8)
SECRET = st.binary(min_size=1, max_size=8).map(lambda data: data.hex().encode())
LINES = st.lists(
    st.one_of(st.sampled_from([b"", b"# a comment", b"#x:y", b"no colon"]), st.builds(b"%b:%b".__mod__, st.tuples(
        LOGIN.map(str.encode), SECRET))), max_size=8)  # fmt: skip


def written(page: OneFileSystem, found: list[smtp_logins.Change]) -> bytes:
    if not found or found[0].operation is None:
        return page.content
    assert isinstance(found[0].operation, WriteFile)
    return found[0].operation.content


@given(LINES, LOGIN, SECRET)
def test_a_password_is_set_and_nothing_else_changes(lines: list[bytes], login: str, secret: bytes) -> None:
    page, site, name = (
        OneFileSystem(b"".join(line + b"\n" for line in lines)),
        Site("/home", single_user=True),
        login.encode(),
    )
    after = written(page, smtp_logins.plan_set_credential(site, page, login, secret))
    assert find_secret(after, name) == secret
    others = [line for line in lines if not line.startswith(name + b":")]
    assert [line for line in after.split(b"\n")[:-1] if not line.startswith(name + b":")] == others
    assert smtp_logins.plan_set_credential(site, OneFileSystem(after), login, secret) == []
    left = written(OneFileSystem(after), smtp_logins.plan_remove(site, OneFileSystem(after), login))
    assert left.split(b"\n")[:-1] == others
    assert name not in dict(entries(left))


def says(home: str, login: str, password: str) -> int:
    """The result of qmail-chkpw for a login."""
    reading, writing = os.pipe()
    os.write(writing, f"{login}\0{password}\0\0".encode())
    os.close(writing)
    code = f"import os; os.dup2({reading}, 3); os.execv({home + '/bin/qmail-chkpw'!r}, ['qmail-chkpw'])"
    ended = subprocess.run([sys.executable, "-c", code], pass_fds=(reading,), check=False)
    os.close(reading)
    return ended.returncode


def give(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(line.encode())))


def test_qmail_chkpw_verifies_every_scheme(
    at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    passwd = ["--home", at_home, "user", "passwd"]
    for login, scheme in (("joe", "yescrypt"), ("ann", "sha512-crypt"), ("max", "clear")):
        give(monkeypatch, f"secret of {login}\n")
        assert run([*passwd, login, "--scheme", scheme, "--stdin"]) == 0
    assert run([*passwd, "eve", "--hash", ARGON2]) == 0
    path = Path(at_home, "users/smtpauth")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    assert [says(at_home, name, f"secret of {name}") for name in ("joe", "ann")] == [0, 0]
    assert says(at_home, "eve", "x") == 0
    assert [says(at_home, name, "wrong") for name in ("joe", "ann", "max", "eve", "nobody")] == [1] * 5
    assert b"max:secret of max\n" in path.read_bytes()
    capsys.readouterr()
    assert run(["--home", at_home, "user", "list", "--smtp-auth", "--json"]) == 0
    methods = {row["login"]: row["method"] for row in json.loads(capsys.readouterr().out)["credentials"]}
    assert methods["joe"] == "yescrypt"
    assert methods["ann"] == "sha512-crypt"
    assert methods["eve"] == "argon2id"
    assert run([*passwd, "joe", "--remove"]) == 0
    assert says(at_home, "joe", "secret of joe") == 1
    assert run(["--home", at_home, "rollback"]) == 0
    assert says(at_home, "joe", "secret of joe") == 0


def test_no_record_holds_a_secret(at_home: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--home", at_home, "user", "passwd", "eve", "--hash", ARGON2, "--diff"]) == 0
    assert run(["--home", at_home, "user", "passwd", "eve", "--hash", ARGON2]) == 0
    assert run(["--home", at_home, "history"]) == 0
    assert "argon2" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["a:b", "--hash", ARGON2], "is no login"),
        (["#a", "--hash", ARGON2], "is no login"),
        (["a b", "--hash", ARGON2], "is no login"),
        (["joe", "--hash", "secret"], "is no crypt string"),
        (["joe", "--hash", "$nobody$knows"], "cannot verify hashes of the kind nobody"),
        (["joe", "--hash", "$argon2id$v=19$m=9999999,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$nGnH"], "cannot verify hashes"),
        (["joe", "--hash", ARGON2, "--remove"], "exclude each other"),
        (["joe", "--stdin"], "a password has one line and is not empty"),
        (["joe"], "no terminal to ask for a password"),
    ],
)
def test_malformed_input_is_refused(
    words: list[str], reason: str, at_home: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    give(monkeypatch, "\n")
    assert run(["--home", at_home, "user", "passwd", *words]) == ExitCode.USAGE
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize("hash", ["$argon2id$v=19$", "$argon2id$v=19$m=64,t=1$a$b", "$argon2id$v=19$m=64,t=1,p=1$$"])
def test_a_broken_argon2_string_proves_nothing(hash: str) -> None:
    assert crypted(b"x", hash.encode()) is None
