"""An installation as one document: dumped, applied to another one, dumped again: the same; and what it removes."""

import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_setup.cli.app import run
from eqmail_setup.declarative.document import (
    DomainSection,
    MailboxSection,
    ServiceSection,
    SiteDocument,
    UserSection,
    document_text,
    parse_document,
)
from eqmail_setup.errors import EqmailError, ExitCode
from tests.integration.toolkit.conftest import picture

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
IDS = st.builds(lambda uid, gid: f"{uid}:{gid}", st.integers(0, 2**31), st.integers(0, 2**31))
DOCUMENTS = st.builds(
    SiteDocument,
    schema=st.just("eqmail/site-1"),
    host=TEXT,
    settings=st.none() | st.dictionaries(TEXT, TEXT | st.lists(TEXT)),
    domains=st.none() | st.dictionaries(TEXT, st.builds(DomainSection, kind=st.just("local"), prefix=TEXT)),
    mailboxes=st.none() | st.dictionaries(TEXT, st.builds(MailboxSection, ids=IDS, forwards=st.lists(TEXT))),
    aliases=st.none() | st.dictionaries(TEXT, TEXT | st.lists(TEXT)),
    users=st.none() | st.dictionaries(TEXT, st.builds(UserSection, user=TEXT, ids=IDS, home=TEXT)),
    logins=st.none() | st.dictionaries(TEXT, TEXT),
    services=st.none() | st.lists(st.builds(ServiceSection, manager=TEXT, name=TEXT, services=st.lists(TEXT))),
)


@given(DOCUMENTS)
def test_a_document_is_read_as_it_was_written(document: SiteDocument) -> None:
    assert parse_document(document_text(document).encode(), "x") == document


@pytest.fixture
def furnished(at_home: str, tmp_path: Path) -> str:
    """An installation with something of everything."""
    run_all(
        at_home,
        "config set concurrencyremote 7",
        "config add badmailfrom @spam.example",
        "domain add example.org",
        "domain add joes.example --virtual joe",
        "mailbox add ann@example.net --quota 5G",
        "domain add caught.example --catch-all ann@example.net",
        "domain add example.net --catch-all joe@elsewhere.example",
        "mailbox add bob@example.net",
        "mailbox forward ann@example.net ann@far.example --keep",
        "mailbox add carl@mail.example.org",
        "alias init joe@elsewhere.example",
        "alias add sales ann@example.net joe@elsewhere.example",
        "user add foo",
        f"service install --manager xinetd --no-start --set folder={tmp_path}/xinetd.d",
    )
    Path(at_home, "users/smtpauth").write_text("ann@example.net:$6$salt$one\njoe:$6$salt$two\n")
    Path(at_home, "users/smtpauth").chmod(0o400)
    return at_home


def run_all(home: str, *lines: str) -> None:
    for line in lines:
        assert run(["--home", home, *line.split()]) == 0, line


def dumped(home: str, path: Path, *words: str) -> str:
    assert run(["--home", home, "dump", "--output", str(path), *words]) == 0
    return path.read_text()


def test_what_was_dumped_makes_another_installation_the_same(furnished: str, tmp_path: Path) -> None:
    file, again = tmp_path / "site.toml", tmp_path / "again.toml"
    text = dumped(furnished, file, "--secrets")
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    other = str(tmp_path / "other")
    run_all(other, "setup --single-user")
    assert text.count(furnished) > 0
    file.write_text(text.replace(furnished, other))
    assert run(["--home", other, "apply", str(file), "--yes"]) == 0
    assert dumped(other, again, "--secrets") == text.replace(furnished, other)
    assert run(["--home", other, "apply", str(file), "--check"]) == 0


def test_applying_what_was_dumped_has_nothing_to_do(
    furnished: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    for words in ([], ["--secrets"]):
        dumped(furnished, file, *words)
        before = picture(furnished)
        capsys.readouterr()
        assert run(["--home", furnished, "apply", str(file)]) == 0
        assert "write" not in capsys.readouterr().out.lower()
        assert run(["--home", furnished, "apply", str(file), "--check"]) == 0
        assert picture(furnished) == before


def test_passwords_are_dumped_only_when_asked_for(furnished: str, tmp_path: Path) -> None:
    text = dumped(furnished, tmp_path / "site.toml")
    assert "$6$" not in text and "joe:" not in text and "[logins]" not in text


def test_what_is_not_named_is_removed_when_confirmed_and_mail_stays(
    furnished: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    document = parse_document(dumped(furnished, file).encode(), "x")
    assert document.mailboxes and document.aliases and document.settings
    del document.mailboxes["bob@example.net"], document.aliases["sales"], document.settings["concurrencyremote"]
    file.write_text(document_text(document))
    before = picture(furnished)
    assert run(["--home", furnished, "apply", str(file)]) == ExitCode.FAILED
    assert "would remove: mailboxes bob@example.net; aliases sales" in capsys.readouterr().err
    assert run(["--home", furnished, "apply", str(file), "--diff"]) == 0
    assert run(["--home", furnished, "apply", str(file), "--check"]) == ExitCode.PROBLEMS
    assert picture(furnished) == before
    assert run(["--home", furnished, "apply", str(file), "--yes"]) == 0
    assert Path(furnished, "users/example.net/bob").is_dir()
    assert not Path(furnished, "alias/.qmail-sales").exists()
    assert not Path(furnished, "control/concurrencyremote").exists()
    assert "bob" not in Path(furnished, "users/assign").read_text()
    assert run(["--home", furnished, "rollback", "--yes"]) == 0
    assert "example.net-bob" in Path(furnished, "users/assign").read_text()


def test_a_section_that_is_left_out_changes_nothing(furnished: str, tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text('schema = "eqmail/site-1"\nhost = "mail.example.org"\n')
    before = picture(furnished)
    assert run(["--home", furnished, "apply", str(file)]) == 0
    assert picture(furnished) == before


def test_comments_of_a_list_stay(furnished: str, tmp_path: Path) -> None:
    path = Path(furnished, "control/badmailfrom")
    path.write_text("# mine\n@spam.example\n")
    file = tmp_path / "site.toml"
    dumped(furnished, file)
    assert run(["--home", furnished, "apply", str(file)]) == 0
    assert path.read_text() == "# mine\n@spam.example\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not TOML"),
        ('schema = "other"', "schema"),
        ('colour = "red"', "colour"),
        ('[settings]\nno-such = "1"', "unknown setting 'no-such'"),
        ('[settings]\nrcpthosts = ["a.example"]', "belongs to another section"),
        ('[settings]\ndatabytes = "x"', "is not a size"),
        ('[mailboxes.ann]\nids = "1:1"', "not an address"),
        ('[domains]\n[mailboxes."a@b.example"]\nids = "1:1"', "is not among the domains"),
        ('[mailboxes."a@b.example"]\nids = "one"', "ids"),
        ('[domains."b.example"]\nkind = "virtual"', "has a prefix"),
        ('[[services]]\nmanager = "upstart"\nname = "x"\nservices = []', "not known"),
    ],
)
def test_bad_documents_are_refused_with_the_place(
    furnished: str, tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "site.toml"
    file.write_text(text)
    before = picture(furnished)
    assert run(["--home", furnished, "apply", str(file), "--yes"]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert picture(furnished) == before


def test_a_change_can_be_seen_as_json(furnished: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "site.toml"
    file.write_text('[settings]\ndatabytes = "20M"\n')
    capsys.readouterr()
    assert run(["--home", furnished, "apply", str(file), "--dry-run", "--json"]) == 0
    assert "control/databytes" in str(json.loads(capsys.readouterr().out))


def test_the_error_of_a_missing_prefix_names_the_mailbox() -> None:
    with pytest.raises(EqmailError, match="not TOML"):
        parse_document(b"\xff", "x")


def test_a_catch_all_that_the_document_leaves_out_goes(
    at_home: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_all(at_home, "domain add example.net --catch-all joe@elsewhere.example")
    capsys.readouterr()
    assert run(["--home", at_home, "dump"]) == 0
    text = capsys.readouterr().out
    file = Path(at_home, "users/example.net/.qmail-default")
    for content, code, is_there in (
        (text.replace('prefix = "example.net"\ncatch', 'prefix = "joe"\ncatch'), ExitCode.USAGE, True),
        (text.replace('catch_all = ["joe@elsewhere.example"]\n', ""), 0, False),
        (text, 0, True),
    ):
        (tmp_path / "site.toml").write_text(content)
        assert run(["--home", at_home, "apply", str(tmp_path / "site.toml"), "--yes"]) == code
        assert file.exists() == is_there
