"""Bad input of more than thirty kinds: the command, the situation, and the output in docs/answers.md.

    python -m tests.support.bad_inputs docs/answers.md

runs every case and writes the page; `test_bad_input` runs them again and compares.
"""

import fcntl
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from tests.conftest import eqmail

SHOWN = "/var/qmail"
OTHER = "/var/other"
NOBODY = 65534
ENVIRON = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "EQMAIL_HOME": ""}


class Case(NamedTuple):
    """A situation in words, how it is made, and the words after `eqmail`; {home} and {other} stand for folders.

    `held` is a file that another process has locked; `room` the most bytes that a file may have.
    """

    what: str
    words: str
    make: Callable[[Path], object] = lambda home: None
    held: str = ""
    room: int = -1
    is_root: bool = True


def text(path: str, content: str) -> Callable[[Path], object]:
    """Write a file below the home."""

    def write(home: Path) -> None:
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(content)

    return write


def damaged_record(home: Path) -> None:
    """A damaged record of a run."""
    (home / "history/1.json").write_text("{")


def another_qmail(home: Path) -> None:
    """A netqmail home beside this one."""
    for name in ("mess", "info", "local", "remote"):
        for part in range(3):
            (home.parent / "other/queue" / name / str(part)).mkdir(parents=True)
    for name in ("todo", "intd", "bounce", "pid", "lock"):
        (home.parent / "other/queue" / name).mkdir()
    (home.parent / "other/queue/lock/sendmutex").touch()


CASES = (
    Case("a line of users/assign that is none", "user compile", text("users/assign", "joe is a user\n.\n")),
    Case("users/assign without its last line", "user compile", text("users/assign", "=joe:joe:1:1:/home/joe:::\n")),
    Case("no users/assign", "user compile"),
    Case("ids of somebody else in an installation of one user", "user add foo --ids 65534:65533"),
    Case("a colon in a name", "user add a:b"),
    Case("an address in the place of a local part", "user add joe@example.org"),
    Case("a home whose folder does not exist", "user add foo --home-of-user /nowhere/foo"),
    Case("the entry of nobody", "user show nobody-of-that-name"),
    Case("accounts from a file that is not there", "user import-passwd /nowhere/passwd"),
    Case("a number with letters", "config set databytes ten"),
    Case("a setting that does not exist", "config set databites 10"),
    Case("a domain with a space", "config set locals a\\ b"),
    Case("a port that is none", "config set smtproutes example.org:relay:99999"),
    Case("more deliveries than there can be", "config set concurrencyremote 1000"),
    Case("a network that is none", "config set relayclients 10.0.0.0/99"),
    Case("reading a setting that does not exist", "config get nosuchfile"),
    Case("a host name without a domain", "config-fast box"),
    Case("an address as the name of a host", "config-fast 192.0.2.1"),
    Case("an alias that leads to itself", "alias add sales sales"),
    Case("an alias for a domain", "alias add sales@example.org joe@elsewhere.example"),
    Case("an alias to nobody", "alias add sales nobody-of-that-name"),
    Case(
        "an alias that exists",
        "alias add sales b@elsewhere.example",
        text("alias/.qmail-sales", "&a@elsewhere.example\n"),
    ),
    Case("a domain that is none", "domain add no_domain/"),
    Case("an address that is none", "explain ''"),
    Case("a command that does not exist", "instal"),
    Case("an option that does not exist", "check --repair"),
    Case("another home that is no installation", "--home /nowhere check"),
    Case("a home that is a file", "--home /etc/hostname setup --single-user"),
    Case("a home that is too long for its sockets", "--home /" + "x" * 120 + " setup --single-user"),
    Case("an unknown layout", "setup --layout sendmail"),
    Case("choices in a folder that has none", "setup --conf /etc/skel"),
    Case("a split that is no number", "setup --conf {home}/conf", text("conf/conf-split", "many\n")),
    Case("two commands at the same time", "config set databytes 1", held=".setup.lock"),
    Case("the choices of the installation, damaged", "check", text("site", "split many\n")),
    Case("a record of the history, damaged", "history", damaged_record),
    Case("taking back a run that never was", "rollback 99"),
    Case("an unknown init system", "gen-init --flavour launchd"),
    Case("an unknown service", "gen-systemd --service gopher"),
    Case("a setting of a service file that is none", "gen-systemd --set colour=red"),
    Case("templates that are not there", "gen-runit --templates /nowhere"),
    Case("a disk that takes nothing more (here: a limit of 0 bytes a file)", "config set databytes 1", room=0),
    Case("no root", "--home /nowhere/mail setup", is_root=False),
    Case("importing what is no qmail", "import /etc"),
    Case("importing a home as what it is not", "import {other} --from eqmail-1.11", another_qmail),
    Case("importing this very home", "import {home}"),
    Case("exporting to a kind that nobody knows", "export --to exchange {other}"),
    Case("a message that is not in the queue", "queue show 1"),
    Case("changing messages without saying which", "queue delete"),
    Case("a condition that is none", "queue list --where colour=red"),
    Case("running where an address should be", "run --smtp everywhere"),
)


class Answer(NamedTuple):
    """The exit code and the standard error of a command."""

    code: int
    line: str


def answer(case: Case, home: Path) -> Answer:
    """Run a case in a home of its own."""
    case.make(home)
    words = [word.format(home=home, other=home.parent / "other") for word in shlex.split(case.words)]
    command = words if words[0] == "--home" else ["--home", str(home), *words]
    options: dict[str, object] = {"cwd": home.parent, "env": ENVIRON}
    if case.room >= 0:
        options["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (case.room, case.room))
    if not case.is_root and os.geteuid() == 0:
        options |= {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    with ExitStack() as stack:
        if case.held:
            file = stack.enter_context(open(home / case.held, "w"))
            fcntl.flock(file, fcntl.LOCK_EX)
        done = eqmail(*command, **options)
    output = done.stderr.replace(str(home.parent / "other"), OTHER).replace(str(home), SHOWN)
    output = output.replace(f" {os.getuid()}:{os.getgid()}", " 1000:1000")
    return Answer(done.returncode, output)


def fresh(model: Path, folder: Path) -> Path:
    """A copy of an installation."""
    home = folder / "home"
    subprocess.run(["cp", "-a", str(model), str(home)], check=True)
    return home


def model_in(folder: Path) -> Path:
    """An installation to copy."""
    (folder / "conf-split").write_text("2\n")
    for words in (["setup", "--single-user"], ["config-fast", "mail.example.org"]):
        done = eqmail("--home", folder / "model", *words, cwd=folder, env=ENVIRON)
        assert done.returncode == 0, done.stderr
    return folder / "model"


def entry(case: Case, given: Answer) -> str:
    """How the page shows a case."""
    words = case.words.replace("{home}", SHOWN).replace("{other}", OTHER)
    words = words if len(words) < 110 else words[:60] + "..." + words[-22:]
    shown = given.line.rstrip("\n")
    return f"### {case.what}\n\n```\n$ eqmail {words}\n{shown}\n```\n\nExit code {given.code}.\n"


def page(answers: list[tuple[Case, Answer]]) -> str:
    """The whole page."""
    head = (
        "# Answers\n\n"
        "What `eqmail` says to bad input: one line that tells what is wrong and what helps, and an exit\ncode "
        "for scripts (2 wrong usage, 3 it cannot be done, 4 a privilege is lacking). The home is "
        f"`{SHOWN}` in all of them.\nWritten by `python -m tests.support.bad_inputs docs/answers.md`; "
        "a test runs every case and compares.\n\n"
    )
    return head + "\n".join(entry(case, given) for case, given in answers)


def main() -> None:
    """Run all cases and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        model = model_in(Path(folder))
        answers = []
        for number, case in enumerate(CASES):
            own = Path(folder, str(number))
            own.mkdir()
            answers.append((case, answer(case, fresh(model, own))))
    Path(sys.argv[1]).write_text(page(answers))


if __name__ == "__main__":
    main()
