"""rcptcheck on real accounts: the RCPT reply matches the result of a delivery, with both kinds of server."""

import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, make_maildir, messages, until

pytestmark = [pytest.mark.root, pytest.mark.slow]
ME = "mail.example.org"
USER, AWAY, OPEN, SHARED, STICKY = "eqmailann", "eqmailaway", "eqmailopen", "eqmailshared", "eqmailsticky"
MODES = {USER: 0o700, AWAY: 0o000, OPEN: 0o777, SHARED: 0o775, STICKY: 0o1700}
CONTROLS = {
    "rcptcheck": "*\n!free.example.org\n",
    "rcpthosts": f"{ME}\n.example.org\n",
    "locals": f"{ME}\nfree.example.org\n",
    "percenthack": f"{ME}\n",
    "virtualdomains": f"virtual.example.org:{USER}+v\nall.example.org:all\nelsewhere.example.org:\n",
}
KNOWN, UNKNOWN, LATER = 250, 550, 451
RECIPIENTS = {
    f"{USER}@{ME}": KNOWN,
    f"{USER.upper()}@{ME.upper()}": KNOWN,
    USER: KNOWN,
    f"{USER}+list@{ME}": KNOWN,
    f"{USER}+LIST@{ME}": KNOWN,
    f"{USER}+nobody@{ME}": UNKNOWN,
    f"{USER}+d-x@{ME}": KNOWN,
    f"{USER}+hidden@{ME}": LATER,
    f"{USER}+writable@{ME}": LATER,
    f"{USER}+blank@{ME}": LATER,
    f"nobody-here@{ME}": UNKNOWN,
    f"nobody-here%free.example.org@{ME}": KNOWN,
    "nobody-here@free.example.org": KNOWN,
    f"{USER}%elsewhere.example.org@{ME}": KNOWN,
    "joe@virtual.example.org": KNOWN,
    "ann@virtual.example.org": UNKNOWN,
    "whoever@all.example.org": KNOWN,
    "whoever@elsewhere.example.org": KNOWN,
    f"{AWAY}@{ME}": LATER,
    f"{OPEN}@{ME}": LATER,
    f"{SHARED}@{ME}": KNOWN,
    f"{STICKY}@{ME}": LATER,
    f"@{ME}": KNOWN,
}


@pytest.fixture(scope="module")
def users() -> Iterator[Path]:
    """Real users whose homes are in all kinds of states."""
    folder = Path("/tmp/eqmail-recipients")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    for name in MODES:
        subprocess.run(["useradd", "-d", str(folder / name), "-s", "/bin/sh", name], check=False, capture_output=True)
        make_maildir(folder / name / "Maildir")
    home = folder / USER
    for ext in ("list", "d-default", "v-joe", "writable"):
        (home / f".qmail-{ext}").write_text("./Maildir/\n")
    (home / ".qmail-writable").chmod(0o666)
    (home / ".qmail-blank").write_text("\n./Maildir/\n")
    (folder / "secret").mkdir(mode=0o700)
    (folder / "secret/file").write_text("./Maildir/\n")
    (home / ".qmail-hidden").symlink_to(folder / "secret/file")
    for name, mode in MODES.items():
        found = pwd.getpwnam(name)
        for path in (folder / name, *(folder / name).rglob("*")):
            os.chown(path, found.pw_uid, found.pw_gid, follow_symlinks=False)
        (folder / name).chmod(mode)
    yield folder
    for name in MODES:
        subprocess.run(["userdel", name], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def mail_system(real_home: Path, users: Path) -> Iterator[MailSystem]:
    control = real_home / "control"
    before = {name: (control / name).read_bytes() for name in CONTROLS if (control / name).exists()}
    for name, text in CONTROLS.items():
        (control / name).write_text(text)
    catch_all = real_home / "alias/.qmail-all-default"
    catch_all.write_text("#\n")
    alias = pwd.getpwnam("alias")
    assign = real_home / "users/assign"
    assign.write_text(f"+all-:alias:{alias.pw_uid}:{alias.pw_gid}:{real_home}/alias:-:all-:\n.\n")
    subprocess.run([real_home / "bin/qmail-newu"], check=True, env={"EQMAIL_HOME": str(real_home)})
    running = MailSystem(real_home)
    yield running
    running.stop()
    for path in (catch_all, assign, real_home / "users/cdb"):
        path.unlink()
    for name in CONTROLS:
        (control / name).unlink()
        if name in before:
            (control / name).write_bytes(before[name])


def resident(mail_system: MailSystem, recipients: list[str]) -> list[int]:
    with smtplib.SMTP("127.0.0.1", mail_system.port, "client.example.net", timeout=60) as client:
        client.ehlo()
        client.mail("a@example.net")
        return [client.rcpt(recipient)[0] for recipient in recipients]


def on_descriptors(mail_system: MailSystem, recipients: list[str]) -> list[int]:
    """Ask bin/qmail-smtpd, as qmaild."""
    qmaild = pwd.getpwnam("qmaild")
    talk = "EHLO c\r\nMAIL FROM:<a@example.net>\r\n"
    talk += "".join(f"RCPT TO:<{recipient}>\r\n" for recipient in recipients) + "QUIT\r\n"
    run = subprocess.run(
        [str(mail_system.home / "bin/qmail-smtpd")],
        input=talk.encode(),
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "EQMAIL_HOME": str(mail_system.home), "TCPREMOTEIP": "192.0.2.1"},
        user=qmaild.pw_uid,
        group=qmaild.pw_gid,
        extra_groups=[],
    )
    lines = [line for line in run.stdout.decode().splitlines() if line[3:4] == " "]
    assert len(lines) == len(recipients) + 4, run
    return [int(line[:3]) for line in lines[3:-1]]


@pytest.mark.parametrize("ask", [resident, on_descriptors])
def test_recipients_are_looked_up(mail_system: MailSystem, ask: object) -> None:
    assert callable(ask)
    assert dict(zip(RECIPIENTS, ask(mail_system, list(RECIPIENTS)), strict=True)) == RECIPIENTS


def test_a_message_takes_only_the_recipients_that_are_known(mail_system: MailSystem, users: Path) -> None:
    with smtplib.SMTP("127.0.0.1", mail_system.port, "client.example.net", timeout=60) as client:
        refused = client.sendmail("a@example.net", [f"{USER}@{ME}", f"nobody@{ME}"], "Subject: hello\r\n\r\n")
    assert refused == {f"nobody@{ME}": (550, b"sorry, no mailbox here by that name (#5.1.1)")}
    until(lambda: messages(users / USER / "Maildir"), "the message")


def test_dotqmail_changes_of_a_user_count_within_seconds(mail_system: MailSystem, users: Path) -> None:
    late = users / USER / ".qmail-late"
    assert resident(mail_system, [f"{USER}+late@{ME}"]) == [UNKNOWN]
    late.write_text("")
    until(lambda: resident(mail_system, [f"{USER}+late@{ME}"]) == [KNOWN], "the new address")
    late.unlink()
    until(lambda: resident(mail_system, [f"{USER}+late@{ME}"]) == [UNKNOWN], "the address to be gone")


def test_only_the_smtp_server_may_ask(mail_system: MailSystem) -> None:
    status = os.stat(mail_system.home / "run/lookup.sock")
    assert (status.st_uid, status.st_mode & 0o777) == (pwd.getpwnam("qmaild").pw_uid, 0o600)
    script = (
        "import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        f"s.connect('{mail_system.home}/run/lookup.sock')"
    )
    run = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, user=USER, text=True, check=False)
    assert "PermissionError" in run.stderr


def test_malformed_input_ends_its_connection_only(mail_system: MailSystem) -> None:
    for packet in (b"x", b"Q", b"Q\0\0\0\0", b"Q\0\0\0\0a\0b@c", b"Q\0\0\0\0" + b"a" * 2000 + b"@c"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(str(mail_system.home / "run/lookup.sock"))
            sock.settimeout(60)
            sock.send(packet)
            assert sock.recv(100) == b""
    assert resident(mail_system, [f"{USER}@{ME}"]) == [KNOWN]


def test_without_answers_mail_is_accepted(mail_system: MailSystem) -> None:
    spawner = next(pid for pid, name in mail_system.services().items() if name == "qmail-lspawn")
    os.kill(spawner, signal.SIGSTOP)
    try:
        assert resident(mail_system, [f"nobody-home@{ME}"]) == [KNOWN]
        assert "smtpd: warning: nobody answers" in mail_system.log()
    finally:
        os.kill(spawner, signal.SIGCONT)
    os.kill(spawner, signal.SIGKILL)
    until(lambda: resident(mail_system, [f"nobody-again@{ME}"]) == [UNKNOWN], "the new spawner")
