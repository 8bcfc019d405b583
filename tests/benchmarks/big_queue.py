#!/usr/bin/env python3
"""How long it takes to look at a large queue, and how much memory; and to start services on it.

    PYTHONPATH=. python tests/benchmarks/big_queue.py [--keep FOLDER] [MESSAGES]       default 200000

A private installation in FOLDER (default: one that is removed afterwards), whose queue has MESSAGES preprocessed messages
of 2 KiB for one or two recipients in 200 domains, born within the last four days and due in an hour or later.
Each command is run after the files were read once, first without services, then with them: elapsed and
CPU seconds, and the most memory.  For the services: from the start until the SMTP greeting and until the scheduler knows
all messages, and how long a new message then takes.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, make_maildir, messages, until

BODY = b"Received: (qmail 1 invoked by uid 0); 1 Jan 2026 00:00:00 -0000\nSubject: x\n\n" + b"x" * 2000 + b"\n"
DOMAINS = 200
EQMAIL = [sys.executable, "-m", "eqmail_setup"]


def make_home(home: Path) -> None:
    eqmail("--home", home, "setup", "--single-user")
    eqmail("--home", home, "config-fast", "mail.example.org")
    make_maildir(home / "alias/Maildir")
    (home / "alias/.qmail-new").write_text("./Maildir/\n")


def fill(queue: Path, count: int) -> None:
    """Put `count` messages into a queue whose services are stopped."""
    chance, now = random.Random(1), time.time()
    split = len(list((queue / "mess").iterdir()))
    for serial in range(count):
        made = queue / "pid/new"
        made.write_bytes(BODY)
        number = made.stat().st_ino
        place = f"{number % split}/{number}"
        made.rename(queue / "mess" / place)
        birth = now - chance.random() * 4 * 86400
        _write(queue / "info" / place, b"Fsender%d@example.net\0" % serial, birth)
        # the first few domains get most of the mail, as they do
        domains = [int(DOMAINS * chance.random() ** 3) for _ in range(1 + (serial % 10 == 0))]
        listed = b"".join(b"Tr%d@domain%d.example\0" % (serial, domain) for domain in domains)
        channel = "local" if serial % 20 == 0 else "remote"
        _write(queue / channel / place, listed, now + 3600 + chance.random() * 10_000)
        if serial % 50 == 0:
            (queue / "bounce" / str(number)).write_bytes(b"<gone@domain1.example>:\nno such user\n\n")


def _write(path: Path, text: bytes, when: float) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    os.utime(path, (when, when))


def measured(command: list[str | Path], environ: dict[str, str]) -> str:
    """Run it; what it cost."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        size = first = peak = 0.0
        while piece := process.stdout.read1(1 << 16):
            first = first or time.monotonic() - began
            size += len(piece)
            peak = max(peak, _peak(process.pid))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    elapsed, cpu = time.monotonic() - began, used.ru_utime + used.ru_stime
    return f"{elapsed:.2f} s, {cpu:.2f} s CPU, {peak:.0f} MB; first word after {first:.2f} s, {size / 1e6:.1f} MB long"


def look(home: Path, number: int) -> None:
    environ = os.environ | {"EQMAIL_HOME": str(home)}
    where = "domain=domain7.example age>1h"
    for words in (
        ["list"],
        ["list", "--json"],
        ["list", "--where", where],
        ["list", "--where", "age>95h"],
        ["list", str(number)],
        ["show", str(number)],
        ["stats"],
        ["stats", "--where", where],
        ["hold", "--where", "recipient=r77@domain*"],
    ):
        print(
            f"  queue {' '.join(words):46} {measured([*EQMAIL, '--home', home, 'queue', *words], environ)}", flush=True
        )
    for words in (["qmail-qread"], ["qmail-qstat"], ["qmail-qstat", "-R"]):
        print(f"  {' '.join(words):52} {measured([home / 'bin' / words[0], *words[1:]], environ)}", flush=True)


def start(home: Path, count: int) -> MailSystem:
    began = time.monotonic()
    mail_system = MailSystem(home)
    greeted = time.monotonic() - began
    until(lambda: counted(home) >= count, "all messages", 600)
    print(f"  start: greeting after {greeted:.2f} s, all due times known after {time.monotonic() - began:.2f} s")
    cpu, peak = _spent(mail_system)
    print(f"  scheduler: {cpu:.2f} s CPU until then, {peak:.0f} MB")
    return mail_system


def counted(home: Path) -> int:
    from eqmail_core.queue.admin.scheduler_client import connect_to_scheduler
    from eqmail_core.system.installation import read_site

    client = connect_to_scheduler(read_site({b"EQMAIL_HOME": os.fsencode(home)}))
    if client is None:
        return 0
    try:
        counters = client.counters()
    finally:
        client.close()
    return counters["local.due"] + counters["remote.due"]


def _spent(mail_system: MailSystem) -> tuple[float, float]:
    pid = next(pid for pid, name in mail_system.services().items() if name == "qmail-send")
    words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK"), _peak(pid)


def _peak(pid: int) -> float:
    """The most memory of a process so far, in MB; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def deliver(mail_system: MailSystem) -> None:
    box = mail_system.home / "alias/Maildir"
    before, began = len(messages(box)), time.monotonic()
    mail_system.send(["new@mail.example.org"], "Subject: new\n\nbody\n")
    until(lambda: len(messages(box)) > before, "a new message", 60)
    print(f"  a new message is delivered after {time.monotonic() - began:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description="See the docstring of this file.")
    parser.add_argument("messages", type=int, nargs="?", default=200_000)
    parser.add_argument("--keep", type=Path, help="make the queue here, or use it when it is there, and leave it")
    words = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = words.keep or Path(tempfile.mkdtemp(prefix="eqmail-big-", dir="/var/tmp"))
    home = folder / "home"
    mail_system: MailSystem | None = None
    try:
        if not home.exists():
            make_home(home)
            fill(home / "queue", words.messages)
        number = next(int(path.name) for path in (home / "queue/info/3").iterdir())
        subprocess.run(f"find {home}/queue -type f -exec cat {{}} + >/dev/null", shell=True, check=True)
        print(f"{words.messages} messages, no services:")
        look(home, number)
        print("with services:")
        mail_system = start(home, words.messages)
        deliver(mail_system)
        look(home, number)
    finally:
        if mail_system is not None:
            began = time.monotonic()
            mail_system.stop(600)
            print(f"  stop: {time.monotonic() - began:.2f} s")
        if words.keep is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
