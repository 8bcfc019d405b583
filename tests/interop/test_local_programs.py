"""procmail, maildrop and fastforward, called by instructions in .qmail: what they file, refuse and put off.

fastforward has the path of the queue built in; so the mail system runs with this path as its home.
"""

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mail_system import MailSystem, make_maildir, messages, until
from tests.support.requirements import demand_namespaces

pytestmark = pytest.mark.root
ME = "mail.example.org"
OWNER = "alias"
BUILT_IN = "/var/lib/qmail"
"""Where Debian's fastforward looks for bin/qmail-queue."""
GATE = """#!/bin/sh
export EQMAIL_HOME={home} PATH={home}/bin:/usr/bin:/bin
exec unshare --mount --propagation private \\
    sh -c 'mount --bind {home} {place} && exec "$@"' sh {home}/bin/qmail-start "$@"
"""


class Box(MailSystem):
    """A mail system in which the addresses box-EXT belong to a user with a home of its own."""

    def __init__(self, home: Path, folder: Path) -> None:
        demand_namespaces("mount")
        self.installation = home
        self.box = make_maildir(folder / "box/Maildir").parent
        owner = pwd.getpwnam(OWNER)
        assign = home / "users/assign"
        assign.write_text(f"+box-:{OWNER}:{owner.pw_uid}:{owner.pw_gid}:{self.box}:-::\n.\n")
        subprocess.run([home / "bin/qmail-newu"], env={"EQMAIL_HOME": str(home)}, check=True)
        gate = folder / "bin/qmail-start"
        gate.parent.mkdir()
        gate.write_text(GATE.format(home=home, place=BUILT_IN))
        gate.chmod(0o755)
        self.own()
        super().__init__(folder)

    def own(self) -> None:
        """Give everything in the box to its owner; maildrop reads no filter that others may read."""
        owner = pwd.getpwnam(OWNER)
        for path in (self.box, *self.box.rglob("*")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
            path.chmod(0o700 if path.is_dir() else 0o600)

    def arrange(self, ext: str, instructions: str, **files: str) -> str:
        """Give an address these instructions and the files that they need; the whole address."""
        for name, text in {f".qmail-{ext}": instructions, **files}.items():
            (self.box / name).write_text(text)
        self.own()
        return f"box-{ext}@{ME}"

    def outcome(self, address: str, text: str = "Subject: x\n\nbody\n") -> str:
        """Send a message and wait for the line of the log on its delivery; without its number."""
        before = len(self.log())
        self.send([address], text, sender=f"box-bounced@{ME}")
        ended = re.compile(
            rf"starting delivery (\d+): msg \d+ to local {re.escape(address)}\n(?:.*\n)*?delivery \1: (.*)\n"
        )
        until(lambda: ended.search(self.log()[before:]), "the delivery; " + self.log()[before:])
        found = ended.search(self.log()[before:])
        assert found
        return found[2]


@pytest.fixture(scope="module")
def mail_system(real_home: Path) -> Iterator[Box]:
    folder = Path(tempfile.mkdtemp(prefix="programs-", dir="/tmp"))
    folder.chmod(0o755)
    running = Box(real_home, folder)
    yield running
    running.stop()
    shutil.rmtree(folder)
    for name in ("assign", "cdb"):
        (real_home / "users" / name).unlink()


TEXT = "Subject: hello\n\nFrom here\n"
DONE = "success: did_0+0+1/"

# The command line, the file that it reads, and the log line of the delivery.
ENDS = {
    "procmail, EXITCODE 77": ("preline procmail -m ./rules", "EXITCODE=77\nHOST=end\n", "failure: "),
    "procmail, EXITCODE 100": ("preline procmail -m ./rules", "EXITCODE=100\nHOST=end\n", "failure: "),
    "procmail, EXITCODE 75": ("preline procmail -m ./rules", "EXITCODE=75\nHOST=end\n", "deferral: "),
    "procmail, no rule": ("preline procmail -m ./rules", ":0\n* ^Subject: other\n./Maildir/\n", "deferral: "),
    "procmail, full disk": (
        "preline procmail -m ./rules",
        ":0\n/dev/full/x\n",
        'deferral: procmail:_Error_while_writing_to_"/dev/full/x"/',
    ),
    "procmail, no file": ("preline procmail -m ./none", "", 'deferral: procmail:_Couldn\'t_read_"./none"/'),
    "maildrop, EXITCODE 77": ("maildrop ./rules", 'echo "no thanks"\nEXITCODE=77\nexit\n', "failure: no_thanks/"),
    "maildrop, EXITCODE 100": ("maildrop ./rules", "EXITCODE=100\nexit\n", "failure: "),
    "maildrop, EXITCODE 75": ("maildrop ./rules", "EXITCODE=75\nexit\n", "deferral: "),
    "maildrop, syntax": ("maildrop ./rules", "if (\n", "deferral: ./rules(2):_Syntax_error./"),
    "maildrop, no file": ("maildrop ./none", "", "deferral: maildrop:_Unable_to_open_filter_file,_errno=2./"),
    "fastforward, no database": ("fastforward -d ./none.cdb", "", "deferral: "),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_exit_code_of_the_program_decides_the_delivery(mail_system: Box, end: str) -> None:
    command, rules, output = ENDS[end]
    address = mail_system.arrange(re.sub(r"\W", "", end).lower(), f"|{command}\n./not-reached/\n", rules=rules)
    outcome = mail_system.outcome(address, TEXT)
    assert outcome.startswith(output) and (outcome == output or output.endswith(" ")), outcome


@pytest.mark.parametrize(
    ("ext", "command", "rules"),
    [
        ("procmail", "preline procmail -m ./rules", ":0\n* ^Subject: hello\nfiled/\n"),
        ("maildrop", "maildrop ./rules", 'if (/^Subject: hello/)\n{\n to "filed-by-maildrop/"\n}\n'),
    ],
)
def test_files_into_a_maildir(mail_system: Box, ext: str, command: str, rules: str) -> None:
    maildir = make_maildir(mail_system.box / ("filed" if ext == "procmail" else "filed-by-maildrop"))
    address = mail_system.arrange(ext, f"|{command}\n", rules=rules)
    assert mail_system.outcome(address, TEXT) == DONE
    (text,) = messages(maildir)
    assert text.endswith("\n" + TEXT)
    # Return-Path and Delivered-To come from preline
    assert ("Delivered-To: " in text) is ("preline" in command)


@pytest.mark.parametrize(
    ("ext", "command", "rules"),
    [("pbox", "preline procmail -m ./rules", ":0:\nmbox-p\n"), ("mbox", "maildrop ./rules", 'to "mbox-m"\n')],
)
def test_files_into_an_mbox(mail_system: Box, ext: str, command: str, rules: str) -> None:
    address = mail_system.arrange(ext, f"|{command}\n", rules=rules)
    assert mail_system.outcome(address, TEXT) == DONE
    text = (mail_system.box / f"mbox-{ext[0]}").read_text()
    assert text.startswith("From ") and text.endswith("Subject: hello\n\n>From here\n\n")


def test_procmail_may_skip_the_rest_of_the_instructions(mail_system: Box) -> None:
    address = mail_system.arrange("p99", "|preline procmail -m ./rules\n|exit 100\n", rules="EXITCODE=99\nHOST=end\n")
    assert mail_system.outcome(address) == DONE


def forwarding(mail_system: Box, table: str) -> None:
    """Make aliases.cdb in the box of a table."""
    for path in (mail_system.box / "aliases.cdb", mail_system.box / "filed-by-alias"):
        path.unlink(missing_ok=True)
    command = ["setforward", f"{mail_system.box}/aliases.cdb", f"{mail_system.box}/aliases.tmp"]
    subprocess.run(command, input=table.encode(), check=True)
    (mail_system.box / "aliases.cdb").chmod(0o644)
    (mail_system.box / ".qmail-target").write_text("./Maildir/\n")


def test_fastforward_forwards_runs_programs_and_refuses_others(mail_system: Box) -> None:
    forwarding(mail_system, f"list@{ME}: box-target@{ME}, |cat\\ >filed-by-alias;\n")
    mail_system.arrange("ff-default", "|fastforward -d ./aliases.cdb\n")
    assert mail_system.outcome(f"box-ff-list@{ME}", TEXT).startswith("success: fastforward:_qp_")
    until(lambda: messages(mail_system.box / "Maildir"), "the forwarded message; " + mail_system.log()[-1000:])
    assert messages(mail_system.box / "Maildir")[0].endswith("\n" + TEXT)
    assert (mail_system.box / "filed-by-alias").read_text().endswith("\n" + TEXT)
    refused = mail_system.outcome(f"box-ff-nobody@{ME}")
    assert refused == "failure: Sorry,_no_mailbox_here_by_that_name._(#5.1.1)/"


def test_fastforward_passes_unknown_addresses_through(mail_system: Box) -> None:
    forwarding(mail_system, f"list@{ME}: box-target@{ME};\n")
    mail_system.arrange("pass-default", "|fastforward -d -p ./aliases.cdb\n./Maildir/\n")
    assert mail_system.outcome(f"box-pass-nobody@{ME}") == "success: did_1+0+1/"


def test_newaliases_reads_a_table_of_sendmail(mail_system: Box) -> None:
    etc = mail_system.home / "etc"
    etc.mkdir()
    (etc / "aliases").write_text(f"staff: box-target@{ME}\n")
    script = f"mount --bind {etc} /etc && qmail-newaliases"
    subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", script], check=True)
    (mail_system.box / ".qmail-target").write_text("./Maildir/\n")
    mail_system.arrange("sm-default", f"|fastforward -d {etc}/aliases.cdb\n")
    assert mail_system.outcome(f"box-sm-staff@{ME}").startswith("success: fastforward:_qp_")
