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
    Case("an invalid line of users/assign", "user compile", text("users/assign", "joe is a user\n.\n")),
    Case("users/assign without its last line", "user compile", text("users/assign", "=joe:joe:1:1:/home/joe:::\n")),
    Case("no users/assign", "user compile"),
    Case("ids of another user in a single-user installation", "user add foo --ids 65534:65533"),
    Case("a colon in a name", "user add a:b"),
    Case("an address instead of a local part", "user add joe@example.org"),
    Case("a home whose folder does not exist", "user add foo --home-dir /nowhere/foo"),
    Case("a missing entry", "user show nobody-of-that-name"),
    Case("accounts from a missing file", "user import-passwd /nowhere/passwd"),
    Case("a number with letters", "config set databytes ten"),
    Case("an unknown setting", "config set databites 10"),
    Case("a domain with a space", "config set locals a\\ b"),
    Case("an invalid port", "config set smtproutes example.org:relay:99999"),
    Case("too many deliveries", "config set concurrencyremote 1000"),
    Case("an invalid network", "config set relayclients 10.0.0.0/99"),
    Case("reading an unknown setting", "config get nosuchfile"),
    Case("a host name without a domain", "config-fast box"),
    Case("an address as a host name", "config-fast 192.0.2.1"),
    Case("an alias that loops", "alias add sales sales"),
    Case("an alias for a domain", "alias add sales@example.org joe@elsewhere.example"),
    Case("an alias to an unknown user", "alias add sales nobody-of-that-name"),
    Case(
        "an alias that exists",
        "alias add sales b@elsewhere.example",
        text("alias/.qmail-sales", "&a@elsewhere.example\n"),
    ),
    Case("an invalid domain", "domain add no_domain/"),
    Case("an invalid address", "explain ''"),
    Case("an unknown command", "instal"),
    Case("an unknown option", "check --repair"),
    Case("another home without an installation", "--home /nowhere check"),
    Case("a home that is a file", "--home /etc/hostname setup --single-user"),
    Case("a home that is too long for its sockets", "--home /" + "x" * 120 + " setup --single-user"),
    Case("an unknown layout", "setup --layout sendmail"),
    Case("a folder without build settings", "setup --conf /etc/skel"),
    Case("a split that is not a number", "setup --conf {home}/conf", text("conf/conf-split", "many\n")),
    Case("two commands at the same time", "config set databytes 1", held=".setup.lock"),
    Case("a damaged site file", "check", text("site", "split many\n")),
    Case("a damaged record of the history", "history", damaged_record),
    Case("rolling back an unknown run", "rollback 99"),
    Case("an unknown init system", "gen-init --type launchd"),
    Case("an unknown service", "gen-systemd --service gopher"),
    Case("an unknown setting of a service file", "gen-systemd --set colour=red"),
    Case("missing templates", "gen-runit --templates /nowhere"),
    Case("a full disk (here: a limit of 0 bytes a file)", "config set databytes 1", room=0),
    Case("no root", "--home /nowhere/mail setup", is_root=False),
    Case("importing a folder without a qmail", "import /etc"),
    Case("importing a home as the wrong kind", "import {other} --from eqmail-1.11", another_qmail),
    Case("importing the same home", "import {home}"),
    Case("exporting to an unknown kind", "export --to exchange {other}"),
    Case("a message that is not in the queue", "queue show 1"),
    Case("changing messages without a selection", "queue delete"),
    Case("an invalid condition", "queue list --where colour=red"),
    Case("running with an invalid address", "run --smtp everywhere"),
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
        "What `eqmail` prints for bad input: one line with the problem and its remedy, and an exit\ncode "
        "for scripts (2 wrong usage, 3 not possible, 4 a missing privilege). The home is "
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
