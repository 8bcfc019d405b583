"""Mail flows through an installation with real accounts: who runs as whom, and whose files come out."""

import os
import pwd
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = [pytest.mark.root, pytest.mark.slow]
ME = "mail.example.org"
USER = "eqmailjoe"


@pytest.fixture(scope="module")
def joe() -> Iterator[pwd.struct_passwd]:
    """A real user with a Maildir, for as long as these tests run."""
    home = Path(f"/tmp/{USER}")
    shutil.rmtree(home, ignore_errors=True)
    subprocess.run(["useradd", "-d", str(home), "-s", "/bin/sh", USER], check=False, capture_output=True)
    found = pwd.getpwnam(USER)
    make_maildir(home / "Maildir")
    (home / ".qmail-who").write_text("|id -un >who; id -G | wc -w >>who; umask >>who; ls /proc/self/fd | wc -l >>who\n")
    for path in (home, *home.rglob("*")):
        os.chown(path, found.pw_uid, found.pw_gid)
    yield found
    subprocess.run(["userdel", USER], check=False, capture_output=True)
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def mail_system(real_home: Path) -> Iterator[MailSystem]:
    running = MailSystem(real_home)
    yield running
    running.stop()


def test_every_service_has_its_own_account(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    mail_system.send([f"{USER}@{ME}", f"{USER}+who@{ME}"], "Subject: wake the carrier and the agent\n\n")
    until(lambda: {"qmail-carrier", "qmail-local"} <= set(mail_system.services().values()), "carrier and agent")
    owners: dict[str, set[str]] = {}
    for pid, name in mail_system.services().items():
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except FileNotFoundError:
            continue  # an agent of another test that has just ended
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert len(set(uids)) == 1, f"{name} could come back: {uids}"
        if name.startswith("qmail-"):
            owners.setdefault(name, set()).add(pwd.getpwuid(int(uids[0])).pw_name)
    # Other tests may have left mail for the alias user in this home.
    owners["qmail-local"].discard("alias")
    assert owners == {
        "qmail-clean": {"qmailq"},
        "qmail-lspawn": {"root"},
        "qmail-getpw": {"qmailp"},
        "qmail-carrier": {"root"},
        "qmail-local": {USER},
        "qmail-rspawn": {"qmailr"},
        "qmail-send": {"qmails"},
        "qmail-smtpd": {"qmaild"},
    }


def test_swaks_reaches_the_users_maildir(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    maildir = Path(joe.pw_dir) / "Maildir"
    command = ["swaks", "--server", f"127.0.0.1:{mail_system.port}", "--from", "a@example.net", "--to", f"{USER}@{ME}"]
    run = subprocess.run([*command, "--header", "Subject: by swaks"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    until(lambda: any("Subject: by swaks" in text for text in messages(maildir)), "the message")
    (path,) = (path for path in (maildir / "new").iterdir() if "Subject: by swaks" in path.read_text())
    assert path.owner() == USER and path.stat().st_mode & 0o777 == 0o600
    assert "invoked from network" in path.read_text()


def test_inject_as_a_user(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    maildir = Path(joe.pw_dir) / "Maildir"
    program = f"echo to: {USER} | {mail_system.home}/bin/qmail-inject"
    run = subprocess.run(["su", "-s", "/bin/sh", USER, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    until(lambda: any(f"invoked by uid {joe.pw_uid}" in text for text in messages(maildir)), "the message")


def test_programs_run_as_the_user_with_nothing_inherited(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    mail_system.send([f"{USER}+who@{ME}"], "Subject: who\n\n")
    seen = Path(joe.pw_dir) / "who"
    until(lambda: seen.exists() and seen.read_text().count("\n") == 4, "the program's output")
    name, groups, mask, descriptors = seen.read_text().split()
    assert (name, groups, mask) == (USER, "1", "0077")
    assert int(descriptors) <= 5


def test_another_account_cannot_send_requests(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    """Only the scheduler's account may connect to the delivering services, and only it is the scheduler."""
    code = (
        "import socket, sys\n"
        f"for name in ('local', 'remote'):\n"
        "    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"    try: s.connect('{mail_system.home}/run/' + name + '.sock'); print('connected to', name)\n"
        "    except PermissionError: pass\n"
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n"
        f"s.connect('{mail_system.home}/run/queue.sock'); s.settimeout(60); s.send(b'H')\n"
        "print('answer', s.recv(100))\n"
    )
    run = subprocess.run(
        ["su", "-s", "/bin/sh", USER, "-c", f'/usr/bin/python3 -c "{code}"'],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout == "answer b''\n", run.stdout + run.stderr


def test_setup_again_and_check(mail_system: MailSystem) -> None:
    again = eqmail("--home", mail_system.home, "setup")
    assert again.returncode == 0 and "No changes needed." in again.stdout
    queue = mail_system.home / "queue/mess"
    queue.chmod(0o777)
    try:
        found = eqmail("--home", mail_system.home, "check")
        assert found.returncode == 1
        assert [line for line in (found.stdout + found.stderr).splitlines() if "queue/mess" in line and "0777" in line]
    finally:
        queue.chmod(0o750)
    assert eqmail("--home", mail_system.home, "check").returncode == 0


def test_a_full_disk_loses_nothing(joe: pwd.struct_passwd) -> None:
    home = Path("/tmp/eqmail-full")
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o755)
    assert eqmail("--home", home, "setup").returncode == 0
    assert eqmail("--home", home, "config-fast", ME).returncode == 0
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=44m,mode=755", "tmpfs", home / "queue"], check=True)
    maildir = Path(joe.pw_dir) / "Maildir"
    mail_system = None
    try:
        assert eqmail("--home", home, "setup").returncode == 0
        mail_system = MailSystem(home)
        mail_system.send([f"{USER}@{ME}"], "Subject: before\n\nbody\n")
        until(lambda: any("Subject: before" in text for text in messages(maildir)), "the first message")
        filler = home / "queue/filler"
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(fd, bytes(4096))
        os.close(fd)
        large = "Subject: large\n\n" + ("z" * 70 + "\n") * 20000
        with pytest.raises(smtplib.SMTPDataError) as refused:
            mail_system.send([f"{USER}@{ME}"], large)
        assert refused.value.smtp_code in (451, 452) and b"disk full" in refused.value.smtp_error
        envelope = f"Fa@example.net\0T{USER}@{ME}\0\0".encode()
        reading, writing = os.pipe()
        os.write(writing, envelope)
        os.close(writing)
        run = subprocess.run([home / "bin/qmail-queue"], input=large.encode(), stdout=reading, check=False)
        os.close(reading)
        assert run.returncode == 53
        filler.unlink()
        mail_system.send([f"{USER}@{ME}"], large.replace("Subject: large", "Subject: after"))
        until(lambda: any("Subject: after" in text for text in messages(maildir)), "the message after")
        assert not any("Subject: large" in text for text in messages(maildir))
        mail_system.stop()
        mail_system = None
        assert not list((home / "queue/todo").rglob("*/[0-9]*")) and not list((home / "queue/pid").iterdir())
    finally:
        if mail_system:
            mail_system.kill()
        subprocess.run(["umount", home / "queue"], check=False)
        shutil.rmtree(home, ignore_errors=True)


def test_a_local_user_has_limits_by_uid(mail_system: MailSystem, joe: pwd.struct_passwd) -> None:
    limits = Path(mail_system.home, "control/submissionlimits")
    limits.write_text(f"uid {USER} messages=1/d\n")
    try:
        until(lambda: _inject_as(mail_system, joe) == 0 and _held(mail_system, joe.pw_uid), "a held message")
        deleted = eqmail("--home", mail_system.home, "queue", "delete", "--yes", "--where", f"uid={joe.pw_uid}")
        assert deleted.returncode == 0, deleted.stderr
        assert not _held(mail_system, joe.pw_uid)
    finally:
        limits.unlink()


def _inject_as(mail_system: MailSystem, user: pwd.struct_passwd) -> int:
    command = [f"{mail_system.home}/bin/qmail-inject", f"{USER}@{ME}"]
    return subprocess.run(
        command, input=b"Subject: x\n\n", user=user.pw_uid, group=user.pw_gid, extra_groups=[], check=False
    ).returncode


def _held(mail_system: MailSystem, uid: int) -> list[str]:
    shown = eqmail("--home", mail_system.home, "queue", "list", "--where", f"state=held uid={uid}")
    return [line for line in shown.stdout.splitlines() if f"uid {uid} is over messages=1/d" in line]


def test_greylisting_keeps_its_senders_as_the_smtp_server(mail_system: MailSystem) -> None:
    folder = Path(mail_system.home, "greylist")
    assert (folder.owner(), folder.stat().st_mode & 0o777) == ("qmaild", 0o700)
    delay = Path(mail_system.home, "control/greylistdelay")
    delay.write_text("60\n")
    try:
        assert eqmail("--home", mail_system.home, "reload").returncode == 0
        until(lambda: _is_deferred(mail_system), "a deferred sender")
        assert "127.0.0.0/24" in eqmail("--home", mail_system.home, "greylist", "list").stdout
        assert {path.owner() for path in folder.iterdir()} == {"qmaild"}
        forgotten = eqmail("--home", mail_system.home, "greylist", "forget", "127.0.0.0/24")
        assert forgotten.returncode == 0, forgotten.stderr
    finally:
        delay.unlink()
        assert eqmail("--home", mail_system.home, "reload").returncode == 0
        until(lambda: not _is_deferred(mail_system), "no greylisting")


def _is_deferred(mail_system: MailSystem) -> bool:
    with smtplib.SMTP("127.0.0.1", mail_system.port, "[127.0.0.1]", timeout=60) as client:
        client.ehlo_or_helo_if_needed()
        client.mail("")
        code, _ = client.rcpt(f"{USER}@{ME}")
        return code == 451
