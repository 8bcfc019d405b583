"""The small programs of administrators: what they print, and how they end."""

import os
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from eqmail_core.programs import (
    qmail_fixq,
    qmail_newmrh,
    qmail_newu,
    qmail_qread,
    qmail_qstat,
    qmail_shcfg,
    qmail_tcpok,
    qmail_tcpto,
    qmail_upq,
    tcprules,
)
from eqmail_core.queue.admin.repair import repair
from eqmail_core.queue.lock import lock_scheduling
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE, render_site

Capture = pytest.CaptureFixture[bytes]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A single-user installation with a queue and one message in it."""
    made = Site(home=str(tmp_path), split=3, single_user=True)
    (tmp_path / SITE_FILE).write_bytes(render_site(made))
    for folder in (made.users, made.control):
        os.mkdir(folder)
    repair(made)
    Path(made.queue.mess(4)).write_bytes(b"Subject: x\n\n")
    Path(made.queue.info(4)).write_bytes(b"Fs@x\0")
    os.utime(made.queue.info(4), (1234567890, 1234567890))
    Path(made.queue.channel("remote", 4)).write_bytes(b"Tr@\xe4\0")
    return made


def environ(site: Site) -> dict[bytes, bytes]:
    return {b"EQMAIL_HOME": site.home.encode()}


def test_qread_prints_messages_and_recipients(site: Site, capfdbinary: Capture) -> None:
    assert qmail_qread.main([b"qmail-qread"], environ(site)) == 0
    head, recipient = capfdbinary.readouterr().out.splitlines()
    assert head.endswith(b" GMT  #4  12  <s@x> ")
    assert recipient == b"\tremote\tr@_"


def test_qread_names_a_damaged_message_and_goes_on(site: Site, capfdbinary: Capture) -> None:
    Path(site.queue.info(5)).write_bytes(b"Fs@x\0")
    assert qmail_qread.main([b"qmail-qread"], environ(site)) == 0
    out = capfdbinary.readouterr().out
    assert b"warning: trouble with #5: file does not exist\n" in out
    assert b"#4  12" in out


def test_qread_without_a_queue_fails_on_standard_output(tmp_path: Path, capfdbinary: Capture) -> None:
    assert qmail_qread.main([b"qmail-qread"], {b"EQMAIL_HOME": os.fsencode(tmp_path)}) == 111
    assert capfdbinary.readouterr().out == b"fatal: unable to chdir: file does not exist\n"


@pytest.mark.parametrize(
    ("options", "code", "out"),
    [
        ([], 0, b"messages in queue: 1\nmessages in queue but not yet preprocessed: 0\n"),
        ([b"-i"], 0, b"ID's of messages in queue:\n4\n"),
        ([b"-m", b"4"], 0, b"\nMessage-Id: 4\nSubject: x\n\n\n"),
        ([b"-D4", b"-i"], 0, b"deleting message 4 ... done\nID's of messages in queue:\n"),
        ([b"-m5"], 111, b""),
        ([b"-x"], 100, b""),
    ],
)
def test_qstat_does_what_its_options_say(
    site: Site, options: list[bytes], code: int, out: bytes, capfdbinary: Capture
) -> None:
    assert qmail_qstat.main([b"qmail-qstat", *options], environ(site)) == code
    assert capfdbinary.readouterr().out == out


@pytest.mark.parametrize(
    ("program", "words"),
    [(qmail_qstat, [b"qmail-qstat", b"-d"]), (qmail_fixq, [b"qmail-fixq", b"-f"]), (qmail_upq, [b"qmail-upq"])],
)
def test_nothing_changes_the_queue_under_the_scheduler(
    site: Site, program: ModuleType, words: list[bytes], capfdbinary: Capture
) -> None:
    lock = lock_scheduling(site.queue)
    try:
        assert program.main(words, environ(site)) == 111
    finally:
        os.close(lock)
    assert capfdbinary.readouterr().err.endswith(b": fatal: qmail-send is running, stop it first\n")
    assert os.path.exists(site.queue.mess(4))


def test_fixq_finds_and_repairs(site: Site, capfdbinary: Capture) -> None:
    os.chmod(site.queue.lock, 0o777)
    for word, found in (
        (b"-c", b"invalid permissions(s)!"),
        (b"-f", b"Fixing queue ...done!"),
        (b"", b"permissions ok!"),
    ):
        assert qmail_fixq.main([b"qmail-fixq", *([word] if word else [])], environ(site)) == 0
        assert found + b"\n" in capfdbinary.readouterr().out


def test_fixq_creates_a_missing_queue(tmp_path: Path, capfdbinary: Capture) -> None:
    made = Site(home=str(tmp_path), single_user=True)
    (tmp_path / SITE_FILE).write_bytes(render_site(made))
    assert qmail_fixq.main([b"qmail-fixq", b"-fc"], environ(made)) == 0
    assert capfdbinary.readouterr().out.endswith(b"\nsplitting ok!\nuser/group ok!\npermissions ok!\n")


def test_upq_sorts_by_the_number(site: Site) -> None:
    os.rename(site.queue.mess(4), f"{site.queue.root}/mess/0/4")
    assert qmail_upq.main([b"qmail-upq"], environ(site)) == 0
    assert os.path.exists(site.queue.mess(4))


def test_newu_reports_its_failures(site: Site, capfdbinary: Capture) -> None:
    for text, reason in (
        (None, b"unable to open users/assign"),
        ("nonsense\n", b"bad format in users/assign"),
        ("=joe:joe:1:1:/j:::\n.\n", None),
    ):
        if text is not None:
            Path(site.users, "assign").write_text(text)
        assert qmail_newu.main([b"qmail-newu"], environ(site)) == (111 if reason else 0)
        expected = b"qmail-newu: fatal: %b\n" % reason if reason else b""
        assert capfdbinary.readouterr() == (b"", expected)


def test_newmrh_reports_the_file_it_could_not_write(site: Site, capfdbinary: Capture) -> None:
    Path(site.control, "morercpthosts").write_text("a.org\n")
    os.mkdir(f"{site.control}/morercpthosts.cdb")
    assert qmail_newmrh.main([b"qmail-newmrh"], environ(site)) == 111
    text = b"unable to move control/morercpthosts.tmp to control/morercpthosts.cdb: is a directory\n"
    assert capfdbinary.readouterr().err == b"qmail-newmrh: fatal: " + text
    assert not os.path.exists(f"{site.control}/morercpthosts.tmp")


def test_tcprules_needs_two_file_names(capfdbinary: Capture) -> None:
    assert tcprules.main([b"tcprules", b"x"], {}) == 100
    assert capfdbinary.readouterr().err == b"tcprules: usage: tcprules rules.cdb rules.tmp\n"


def test_tcpto_names_the_missing_folder(site: Site, capfdbinary: Capture) -> None:
    shutil.rmtree(site.queue.lock)
    assert qmail_tcpto.main([b"qmail-tcpto"], environ(site)) == 111
    assert capfdbinary.readouterr().out == b"fatal: unable to chdir: file does not exist\n"


def test_tcpto_shows_what_tcpok_forgets(site: Site, capfdbinary: Capture) -> None:
    record = b"\x0a\x02" + bytes(6) + (1000).to_bytes(8, "little") + bytes(15) + b"\1"
    Path(site.queue.tcpto).write_bytes(record + bytes(2048 - len(record)))
    assert qmail_tcpto.main([b"qmail-tcpto"], environ(site)) == 0
    out = capfdbinary.readouterr().out
    assert out.startswith(b"::1 timed out ")
    assert out.endswith(b" seconds ago; # recent timeouts: 2\n")
    assert qmail_tcpok.main([b"qmail-tcpok"], environ(site)) == 0
    assert qmail_tcpto.main([b"qmail-tcpto"], environ(site)) == 0
    assert capfdbinary.readouterr().out == b""


def test_shcfg_begins_with_the_settings_of_setup(site: Site, capfdbinary: Capture) -> None:
    assert qmail_shcfg.main([b"qmail-shcfg"], environ(site)) == 0
    out = capfdbinary.readouterr().out
    assert out.startswith(b"Compiled-in values:\n\n    qmail home directory: " + site.home.encode())
    assert b"\nConfiguration files:\n" in out


def test_shcfg_without_control_files_ends_with_1(tmp_path: Path, capfdbinary: Capture) -> None:
    assert qmail_shcfg.main([b"qmail-shcfg"], {b"EQMAIL_HOME": os.fsencode(tmp_path)}) == 1
    assert capfdbinary.readouterr().out == b"error reading controls directory!\n"
