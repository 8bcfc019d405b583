"""`eqmail import` and `eqmail export`: another qmail comes here and goes back, whatever happens on the way."""

import fcntl
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.queue.admin.transfer import survey_queue
from eqmail_core.site.accounts import ROLES, Accounts
from eqmail_core.site.layout import LAYOUTS
from eqmail_core.site.site import Site
from eqmail_setup.cli.app import run
from eqmail_setup.errors import ExitCode
from eqmail_setup.installation.build_config import load_site
from eqmail_setup.installation.manifest_nodes import Permissions
from eqmail_setup.migration.copy_files import CopyContext, _target_permissions
from eqmail_setup.migration.unsupported import RENAMED, UNSUPPORTED
from tests.conftest import eqmail
from tests.integration.toolkit.conftest import picture
from tests.support.mail_system import MailSystem, messages, until
from tests.unit.queue.test_admin_transfer import contents, made, put, some_messages

MANY = 1000
NOBODY = 65534

SETTINGS = {
    "me": "old.example.org\n",
    "locals": "old.example.org\n",
    "rcpthosts": "old.example.org\nvirtual.example\n",
    "virtualdomains": "virtual.example:joe-v\n",
    "concurrencyincoming": "30\n",
    "spfbehavior": "3\n",
    "notes-of-joe": "do not forget\n",
}


def old_home(home: Path, messages: int, layout: str = "netqmail") -> Site:
    """A home as C qmail leaves it, stopped."""
    site = made(home, layout, 7)
    for folder in (site.control, site.users, site.alias):
        os.makedirs(folder)
    for name, text in SETTINGS.items():
        Path(site.control, name).write_text(text)
    Path(site.users, "assign").write_text("=joe:joe:1000:1000:/home/joe:::\n+joe-:joe:1000:1000:/home/joe:-::\n.\n")
    Path(site.alias, ".qmail-root").write_text(f"&joe\n|{home}/bin/mine\n")
    Path(site.alias, ".qmail-abuse").symlink_to(".qmail-root")
    for part in ("tmp", "new", "cur"):
        Path(site.alias, "Maildir", part).mkdir(parents=True)
    Path(site.alias, "Maildir/new/1.2.x").write_text("mail\n")
    some_messages(site, messages)
    return site


def site_of(home: Path) -> Site:
    site = load_site(str(home))
    assert site is not None
    return site


def imported(old: Path, new: Path, *words: str) -> int:
    return run(["--home", str(new), "import", str(old), "--single-user", *words])


def test_a_thousand_messages_come_and_go_back_unchanged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = old_home(tmp_path / "old", MANY)
    before, there = contents(old), picture(old.home)
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    assert picture(old.home) == there, "nothing is changed in the old home"
    assert contents(site_of(tmp_path / "new")) == before
    capsys.readouterr()
    run(["--home", str(tmp_path / "new"), "check"])
    assert f"{tmp_path}/new/queue" not in capsys.readouterr().out
    assert run(["--home", str(tmp_path / "new"), "export", "--to", "netqmail", str(tmp_path / "back")]) == 0
    back = Site(home=str(tmp_path / "back"), layout=LAYOUTS["netqmail"], split=7)
    assert contents(back) == before
    assert len(before) == MANY
    for name, text in SETTINGS.items():
        assert Path(back.control, name).read_text() == text
    assert Path(back.users, "assign").read_bytes() == Path(old.users, "assign").read_bytes()
    assert not os.path.exists(back.queue.journal)
    capsys.readouterr()
    for words in (["import", old.home], ["export", "--to", "netqmail", back.home]):
        assert run(["--home", str(tmp_path / "new"), *words]) == 0
        assert "No changes needed." in capsys.readouterr().out


def test_the_report_is_in_parts_and_goes_to_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, report = old_home(tmp_path / "old", 4), tmp_path / "report.txt"
    assert imported(tmp_path / "old", tmp_path / "new", "--report", str(report)) == 0
    text = report.read_text()
    assert text in capsys.readouterr().out
    parts = dict(part.split("\n", 1) for part in text.rstrip("\n").split("\n\n"))
    titles = [title.rpartition(" (")[0] for title in parts]
    assert titles == [
        *("Source", "Installed", "Copied", "Renamed", "Needs review"),
        *("Not supported, with what replaces it", "Notes", "Next steps"),
    ]
    for title, words in (
        ("Copied", "Copied 4 messages"),
        ("Renamed", "as smtpconcurrency"),
        ("Needs review", f"{old.home}/control/notes-of-joe: not known"),
        ("Needs review", f"{old.alias}/.qmail-root: runs"),
        ("Not supported", "SPF: eqmail config set authcheck"),
        ("Next steps", f"eqmail --home {tmp_path}/new check"),
    ):
        (part,) = [lines for head, lines in parts.items() if head.startswith(title)]
        assert words in part


def test_the_report_names_changes_and_files_that_are_never_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = old_home(tmp_path / "old", 4)
    new = tmp_path / "new"
    assert imported(tmp_path / "old", new, "--dry-run") == 0
    dry = capsys.readouterr().out
    assert not new.exists()
    for words in (
        f"{old.home}: a qmail of the kind netqmail, 7 parts, delimiter '-'",
        f"copy 4 messages from {old.home}/queue",
        f"{old.home}/control/spfbehavior: SPF",
        f"{old.home}/control/notes-of-joe: not known",
        f"{old.home}/control/concurrencyincoming: of another qmail, kept as smtpconcurrency",
        f"{new}/alias/.qmail-root: names {old.home}/...",
        f"{old.home}/alias/Maildir: a Maildir with mail",
        "todo and intd in parts, there in one piece",
    ):
        assert words in dry, words
    assert imported(tmp_path / "old", new) == 0
    site = site_of(new)
    assert (site.break_char, site.split) == (b"-", 7)
    assert Path(site.control, Controls.smtpconcurrency.file).read_text() == "30\n"
    assert not Path(site.control, "concurrencyincoming").exists()
    assert os.path.exists(f"{site.users}/cdb")
    assert os.readlink(f"{site.alias}/.qmail-abuse") == ".qmail-root"
    assert os.path.isdir(f"{site.alias}/Maildir/new")


def test_an_edit_here_is_kept_unless_it_is_to_be_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = old_home(tmp_path / "old", 0)
    home = str(tmp_path / "new")
    assert run(["--home", home, "setup", "--single-user"]) == 0
    Path(home, "control/me").write_text("mine.example.org\n")
    assert run(["--home", home, "import", old.home]) == 0
    assert Path(home, "control/me").read_text() == "mine.example.org\n"
    output = capsys.readouterr().out
    assert f"{home}/control/me: other than {old.home}/control/me, kept as it is" in output
    assert f"{home}: USER+EXTENSION is the user's mail; it was USER-EXTENSION in {old.home}" in output
    assert run(["--home", home, "import", old.home, "--replace"]) == 0
    assert Path(home, "control/me").read_text() == "old.example.org\n"
    assert run(["--home", home, "rollback"]) == 0
    assert Path(home, "control/me").read_text() == "mine.example.org\n"


def test_a_running_scheduler_is_not_disturbed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = old_home(tmp_path / "old", 2)
    with open(old.queue.sendmutex, "w") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        assert imported(tmp_path / "old", tmp_path / "new") == 3
    output = capsys.readouterr().err
    assert output == f"eqmail: error: qmail-send of {old.home} is running; stop it first, then come again\n"
    assert not (tmp_path / "new/control").exists()


def test_messages_are_moved_once_they_are_here_and_only_then_may_go_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = old_home(tmp_path / "old", 8)
    before = contents(old)
    home = str(tmp_path / "new")
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    assert run(["--home", home, "export", "--to", "netqmail", old.home]) == 3
    assert f"remove them first: eqmail --home {home} import {old.home} --move" in capsys.readouterr().err
    assert run(["--home", home, "import", old.home, "--move"]) == 0
    assert survey_queue(old).messages == []
    assert contents(site_of(tmp_path / "new")) == before
    assert run(["--home", home, "export", "--to", "netqmail", old.home, "--move"]) == 0
    assert contents(old) == before
    assert contents(site_of(tmp_path / "new")) == []


def test_messages_that_came_later_come_later(tmp_path: Path) -> None:
    old = old_home(tmp_path / "old", 3)
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    put(old, b"late\n", 77, info=b"F\0", remote=b"Ta@b\0")
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    assert contents(site_of(tmp_path / "new")) == contents(old)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_kind_of_a_home_is_found_out(tmp_path: Path, layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    old_home(tmp_path / "old", 1, layout)
    other = "netqmail" if layout != "netqmail" else "eqmail-1.11"
    assert imported(tmp_path / "old", tmp_path / "new", "--from", other) == 2
    assert f"of another kind than {other}" in capsys.readouterr().err
    assert imported(tmp_path / "old", tmp_path / "new", "--dry-run") == 0
    assert f"a qmail of the kind {layout}," in capsys.readouterr().out


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """The process gets SIGKILL while it copies, again and again, later each time."""
    old = old_home(tmp_path / "old", MANY)
    before = contents(old)
    home = tmp_path / "new"
    command = [sys.executable, "-m", "eqmail_setup", "--home", str(home), "import", old.home, "--single-user"]
    kills = 0
    for copied in (1, 150, 420):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and count(home) < copied:
                time.sleep(0.001)
            process.send_signal(signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    assert kills > 0
    done = eqmail("--home", home, "import", old.home, "--single-user")
    assert done.returncode == 0, done.stderr
    assert contents(site_of(home)) == before
    assert contents(old) == before
    assert os.listdir(home / "queue/pid") == []


def test_the_services_deliver_imported_messages(tmp_path: Path) -> None:
    """New and half-done messages of a netqmail home go where they should, and none is delivered twice."""
    old = old_home(tmp_path / "old", 0)
    Path(old.alias, ".qmail-sales").write_text("./Maildir/\n")
    now = int(time.time()) - 200  # so that the next attempt is due
    put(old, b"Subject: new\n\n", now, todo=b"u7\0p8\0Fs@far.example\0Tsales@old.example.org\0")
    half = b"Ddone@old.example.org\0Tsales@old.example.org\0"
    put(old, b"Subject: half\n\n", now, info=b"Fs@far.example\0", local=half)
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    mailbox = tmp_path / "new/alias/Maildir"
    mail_system = MailSystem(tmp_path / "new")
    try:
        until(lambda: len(messages(mailbox)) == 2, "both deliveries; the log says:\n" + mail_system.log())
        until(lambda: survey_queue(site_of(tmp_path / "new")).messages == [], "an empty queue")
    finally:
        mail_system.stop()
    assert {"new", "half"} == {text.split("Subject: ")[1].split("\n")[0] for text in messages(mailbox)}
    assert "done@old.example.org" not in mail_system.log()
    assert len(survey_queue(old).messages) == 2, "the old home is as it was"
    assert imported(tmp_path / "old", tmp_path / "new") == 0
    assert survey_queue(site_of(tmp_path / "new")).messages == [], "what was brought once does not come again"


def count(home: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(home / "queue/mess"))


def test_the_table_of_foreign_files_has_no_files_of_ours() -> None:
    ours = {control.file for control in Controls.declared().values()}
    assert not (set(UNSUPPORTED) | set(RENAMED)) & ours
    assert len(set(RENAMED.values())) == len(RENAMED), "the way back must be clear"


def test_setup_in_place_reports_the_fate_of_the_settings_of_patches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = old_home(tmp_path / "old", 0)
    assert run(["--home", old.home, "setup", "--single-user"]) == 0
    output = capsys.readouterr().out
    assert f"{old.control}/spfbehavior: of a patch of qmail, and no program here reads it: SPF: " in output
    assert f"{old.control}/concurrencyincoming: of another qmail, better as smtpconcurrency" in output
    assert run(["--home", old.home, "setup"]) == 0
    assert "spfbehavior" not in capsys.readouterr().out, "said once"


@pytest.mark.root
def test_with_accounts_every_file_has_its_owner(tmp_path: Path) -> None:
    old = old_home(tmp_path / "old", 8)
    tmp_path.chmod(0o755)
    for folder, owner in (("mess", "qmailq"), ("todo", "qmailq"), ("info", "qmails"), ("local", "qmails")):
        for where, names, files in os.walk(f"{old.queue.root}/{folder}"):
            for name in (*names, *files):
                subprocess.run(["chown", f"{owner}:qmail", f"{where}/{name}"], check=True)
    subprocess.run(["chown", "-h", "alias:nofiles", f"{old.alias}/.qmail-root"], check=True)
    before = contents(old)
    home = tmp_path / "new"
    done = eqmail("--home", home, "import", old.home)
    assert done.returncode == 0, done.stderr
    assert contents(site_of(home)) == before
    assert f"{home}/queue" not in eqmail("--home", home, "check").stdout
    assert Path(home, "alias/.qmail-root").owner() == "alias"
    for message in survey_queue(site_of(home)).messages:
        assert Path(message.files["mess"]).owner() == "qmailq"
        owner = "qmailq" if message.is_unprocessed else "qmails"
        assert all(Path(path).owner() == owner for name, path in message.files.items() if name != "mess")


def _control_elsewhere(old: Site, secret: Path) -> None:
    shutil.rmtree(old.control)
    os.symlink(secret.parent, old.control)
    os.chown(old.control, NOBODY, NOBODY, follow_symlinks=False)


def _choices_of_others(old: Site, secret: Path) -> None:
    Path(old.home, "site").write_text("users nobody qmaild qmaill qmailp qmailq qmailr qmails root\n")
    os.chown(f"{old.home}/site", NOBODY, NOBODY)


def _folder_of_others(old: Site, secret: Path) -> None:
    os.chown(old.control, NOBODY, NOBODY)


def _home_of_others(old: Site, secret: Path) -> None:
    os.chown(old.home, NOBODY, NOBODY)


def _second_name(old: Site, secret: Path) -> None:
    os.chown(old.control, pwd.getpwnam("qmailq").pw_uid, -1)
    os.link(secret, f"{old.control}/notes")


def _link_of_others(old: Site, secret: Path) -> None:
    os.symlink(secret, f"{old.control}/notes")
    os.chown(f"{old.control}/notes", NOBODY, NOBODY, follow_symlinks=False)


def _message_of_others(old: Site, secret: Path) -> None:
    (message,) = [path for path in Path(old.queue.root, "mess").rglob("*") if path.is_file()]
    message.unlink()
    message.symlink_to(secret)
    os.chown(message, NOBODY, NOBODY, follow_symlinks=False)


@pytest.mark.root
@pytest.mark.parametrize(
    "make_hostile",
    [
        _control_elsewhere,
        _choices_of_others,
        _folder_of_others,
        _home_of_others,
        _second_name,
        _link_of_others,
        _message_of_others,
    ],
)
def test_root_takes_nothing_from_a_home_that_others_could_make_lead_elsewhere(
    tmp_path: Path, real_home: Path, make_hostile: Callable[[Site, Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    tmp_path.chmod(0o755)
    secret = tmp_path / "private/secret"
    secret.parent.mkdir(mode=0o700)
    secret.write_text("of root alone\n")
    secret.chmod(0o600)
    old = old_home(tmp_path / "old", 1)
    make_hostile(old, secret)
    assert run(["--home", str(tmp_path / "new"), "import", old.home]) == ExitCode.PERMISSION, capsys.readouterr().out
    assert not (tmp_path / "new").exists()


@pytest.mark.root
def test_a_link_that_root_made_is_followed(tmp_path: Path, real_home: Path) -> None:
    tmp_path.chmod(0o755)
    old = old_home(tmp_path / "old", 0)
    os.rename(old.control, tmp_path / "etc")
    os.symlink(tmp_path / "etc", old.control)
    assert run(["--home", str(tmp_path / "new"), "import", old.home]) == 0
    assert (tmp_path / "new/control/me").read_text() == "old.example.org\n"


def test_root_is_no_account_of_the_services() -> None:
    source = Site(home="/old")
    source.accounts = Accounts(tuple("root" if role == "alias" else role for role in ROLES), source.accounts.groups)
    route = CopyContext(source, Site(home="/new"))
    assert _target_permissions(route, Permissions("root", "root", 0o600)).owner == "root"


def test_programs_of_aliases_are_listed_and_asked_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def no(question: str, err: bool) -> bool:
        asked.append(question)
        return False

    old = old_home(tmp_path / "old", 0)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", no)
    assert imported(tmp_path / "old", tmp_path / "new") == ExitCode.FAILED
    assert asked == ["These programs run as the user of the aliases. Continue?"]
    output = capsys.readouterr().err
    assert f"{old.alias}/.qmail-root: runs '{old.home}/bin/mine', better looked at before mail comes" in output
    assert not (tmp_path / "new/alias/.qmail-root").exists()
    assert imported(tmp_path / "old", tmp_path / "new", "--yes") == 0
    assert (tmp_path / "new/alias/.qmail-root").exists()
