"""One delivery, followed from the .qmail file to its end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from eqmail_core.local.delivery.deliver import deliver, dry_run
from eqmail_core.local.delivery.request import LocalDelivery
from eqmail_core.outcome import Failure, PermanentFailure, TemporaryFailure
from eqmail_core.site.site import Site

QUEUE = """#!/bin/sh
cat >"$EQMAIL_HOME/queued"; tr '\\0' '|' <&1 >"$EQMAIL_HOME/envelope"; exit $(cat "$EQMAIL_HOME/code")
"""

Deliver = Callable[..., bytes]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "site/bin").mkdir(parents=True)
    (tmp_path / "site/bin/qmail-queue").write_text(QUEUE)
    (tmp_path / "site/bin/qmail-queue").chmod(0o755)
    (tmp_path / "site/code").write_text("0")
    (tmp_path / "joe").mkdir(mode=0o755)
    return Site(home=str(tmp_path / "site"))


@pytest.fixture
def joe(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Deliver:
    """Deliver a message to joe; `message` and `ext` may be given, files lie in tmp_path/joe."""
    monkeypatch.chdir(tmp_path)

    def act(
        message: bytes = b"Subject: x\n\nbody\n", ext: bytes = b"", name: bytes = b"", default: bytes = b"./Mailbox"
    ) -> bytes:
        (tmp_path / "message").write_bytes(message)
        fd = os.open(tmp_path / "message", os.O_RDONLY)
        saved = os.dup(0)
        os.dup2(fd, 0)
        try:
            home = os.fsencode(tmp_path / "joe")
            local, dash = (b"joe+" + ext, b"-") if ext else (b"joe", b"")
            it = LocalDelivery(b"joe", home, local, dash, ext, b"h", b"s@x", default, name)
            environ = {b"PATH": b"/usr/bin:/bin", b"EQMAIL_HOME": os.fsencode(site.home)}
            return deliver(site, it, 0, environ).text
        finally:
            os.dup2(saved, 0)
            os.close(saved)
            os.close(fd)

    return act


@pytest.fixture
def home(tmp_path: Path, site: Site) -> Path:
    return tmp_path / "joe"


@pytest.mark.parametrize("default", [b"", b"\n", b" \n", b"\t"])
def test_with_a_blank_default_mail_waits(joe: Deliver, home: Path, default: bytes) -> None:
    for ext, name in ((b"", ".qmail"), (b"x", ".qmail-x")):
        with pytest.raises(TemporaryFailure, match=r"first line of \.qmail file is blank"):
            joe(default=default, ext=b"")
        (home / name).touch()
        with pytest.raises(TemporaryFailure, match=r"first line of \.qmail file is blank"):
            joe(default=default, ext=ext)


def test_without_a_dotqmail_file_the_default_applies(joe: Deliver, home: Path) -> None:
    assert joe() == b"did 1+0+0\n"
    assert b"\nReturn-Path: <s@x>\nDelivered-To: joe@h\nSubject: x\n" in (home / "Mailbox").read_bytes()


def test_without_a_dotqmail_file_an_extension_is_unknown(joe: Deliver) -> None:
    with pytest.raises(PermanentFailure, match="no mailbox here by that name"):
        joe(ext=b"list")


def test_programs_and_forwards_are_done_and_counted(joe: Deliver, home: Path, site: Site) -> None:
    (home / ".qmail-list-default").write_text('&a@b\n|cat >seen; echo "$DEFAULT $NEWSENDER" >vars\nc@d\n')
    (home / ".qmail-list-x-owner").write_text("")
    text = joe(ext=b"list-x")
    assert text.startswith(b"did 0+2+1\nqp ")
    assert (home / "seen").read_bytes() == b"Subject: x\n\nbody\n"
    assert (home / "vars").read_bytes() == b"x joe+list-x-owner@h\n"
    assert Path(site.home, "queued").read_bytes() == b"Delivered-To: joe+list-x@h\nSubject: x\n\nbody\n"
    assert Path(site.home, "envelope").read_bytes() == b"Fjoe+list-x-owner@h|Ta@b|Tc@d||"


@pytest.mark.parametrize(
    ("code", "failure"),
    [(100, PermanentFailure), (112, PermanentFailure), (111, TemporaryFailure), (1, TemporaryFailure)],
)
def test_the_exit_code_of_a_program_decides(joe: Deliver, home: Path, code: int, failure: type[Failure]) -> None:
    (home / ".qmail").write_text(f"|exit {code}\n./Mailbox\n")
    with pytest.raises(failure) as raised:
        joe()
    assert raised.value.text == b"" and not (home / "Mailbox").exists()


def test_exit_99_stops_and_still_forwards_what_came_before(joe: Deliver, home: Path, site: Site) -> None:
    (home / ".qmail").write_text("&a@b\n|exit 99\n&c@d\n./Mailbox\n")
    assert joe().startswith(b"did 0+1+1\n")
    assert Path(site.home, "envelope").read_bytes() == b"Fs@x|Ta@b||"
    assert not (home / "Mailbox").exists()


@pytest.mark.parametrize(("code", "failure"), [("31", PermanentFailure), ("71", TemporaryFailure)])
def test_a_refused_forward_is_a_failure(
    joe: Deliver, home: Path, site: Site, code: str, failure: type[Failure]
) -> None:
    Path(site.home, "code").write_text(code)
    (home / ".qmail").write_text("&a@b\n")
    with pytest.raises(failure, match="Unable to forward message: "):
        joe()


def test_a_message_with_our_delivered_to_is_a_loop(joe: Deliver, home: Path) -> None:
    with pytest.raises(PermanentFailure, match="looping"):
        joe(b"Delivered-To: joe@h\n\n")
    assert not (home / "Mailbox").exists()


@pytest.mark.parametrize(
    ("mode", "text"), [(0o757, "home directory is writable"), (0o1755, "user is editing his .qmail file")]
)
def test_a_home_in_the_wrong_mode_waits(joe: Deliver, home: Path, mode: int, text: str) -> None:
    home.chmod(mode)
    with pytest.raises(TemporaryFailure, match=text):
        joe()


def test_a_writable_dotqmail_file_is_not_trusted(joe: Deliver, home: Path) -> None:
    (home / ".qmail").write_text("|touch done\n")
    (home / ".qmail").chmod(0o646)
    with pytest.raises(TemporaryFailure, match="qmail file is writable"):
        joe()
    assert not (home / "done").exists()


def test_a_maildir_copy_takes_the_name_of_its_order(joe: Deliver, home: Path) -> None:
    for name in ("tmp", "new"):
        (home / "M" / name).mkdir(parents=True)
    (home / ".qmail").write_text("|true\n./M/\n./M/\n")
    for _ in range(2):
        assert joe(name=b"5.X7") == b"did 2+0+1\n"
    assert len(list((home / "M/new").glob("5.X7*"))) == 2


def test_a_dry_run_delivers_nothing(tmp_path: Path, site: Site, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (home / ".qmail").write_text("./M/\n|cmd\n&a@b\n")
    home.chmod(0o1755)
    output: list[bytes] = []
    it = LocalDelivery(b"joe", os.fsencode(home), b"joe", b"", b"", b"h", b"s@x", b"./Mailbox")
    dry_run(site, it, output.append, output.append)
    assert output == [
        b"Warning: home directory is sticky.\n",
        b"maildir ./M/\n",
        b"program cmd\n",
        b"forward a@b\n",
        b"did 1+1+1\n",
    ]
    assert [path.name for path in home.iterdir()] == [".qmail"]


FLAGGED = b"Received: x\nX-Spam-Flag: YES\nSubject: x\n\nbody\n"


@pytest.mark.parametrize(
    ("setting", "message", "folder", "expected"),
    [
        ("Junk", FLAGGED, ".Junk", ".Junk"),
        (".Junk", FLAGGED, ".Junk", ".Junk"),
        (None, FLAGGED, ".Junk", "."),
        ("Junk", FLAGGED, ".Other", "."),
        ("Junk", b"Received: x\n\n\nX-Spam-Flag: YES\n", ".Junk", "."),
        ("../../Other", FLAGGED, ".Junk", "."),
        ("", FLAGGED, ".Junk", "."),
    ],
)
def test_a_flagged_message_goes_to_the_folder_for_it(
    joe: Deliver, home: Path, site: Site, setting: str | None, message: bytes, folder: str, expected: str
) -> None:
    for name in ("tmp", "new", f"{folder}/tmp", f"{folder}/new"):
        (home / "M" / name).mkdir(parents=True)
    (Path(site.home) / "control").mkdir()
    if setting is not None:
        (Path(site.home) / "control/authfolder").write_text(f"{setting}\n")
    (home / ".qmail").write_text("./M/\n")
    joe(message)
    assert len(list((home / "M" / expected / "new").iterdir())) == 1
