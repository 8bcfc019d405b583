"""What the commands show: docs/screens.md and docs/build-page.md, made by running them.

    python -m tests.support.screens docs

Screens come from a private installation, whose home is shown as /var/qmail. The build page (root) is the page of
(e)qmail from top to bottom as commands, on a machine of its own without any account of the mail system; then the same
again, and rollback.
"""

import fcntl
import os
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from tests.conftest import eqmail
from tests.support.isolated_root import IsolatedRoot
from tests.support.requirements import open_terminal

SHOWN = "/var/qmail"
OTHER = "/var/netqmail"
ENVIRON = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2]), "EQMAIL_HOME": "", "TZ": "UTC"}
_MOST_LINES = 45
_VOLATILE = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "2026-11-23 10:00:00"),
    (re.compile(r", \d+ bytes\)"), ", ... bytes)"),
    (re.compile(r"byte code of \d+ modules in \S+"), "byte code of ... modules in ..."),
)

SCREENS = (
    ("the help", "--help", 90),
    ("setup --dry-run", "--home {new} setup --single-user --dry-run", 30),
    (
        "quickstart --dry-run",
        "--home {new} quickstart mail.example.org --service systemd --dry-run",
        25,
    ),
    ("config show", "config show", _MOST_LINES),
    ("config explain", "config explain databytes", _MOST_LINES),
    ("explain", "explain sales@mail.example.org", _MOST_LINES),
    ("explain, a foreign address", "explain joe@far.example", _MOST_LINES),
    ("explain, with an extension", "explain root+logs@mail.example.org", _MOST_LINES),
    ("doctor", "doctor --offline --skip permissions.unreachable", _MOST_LINES),
    ("check", "check", _MOST_LINES),
    ("status", "status", _MOST_LINES),
    ("queue list", "queue list", _MOST_LINES),
    ("import --dry-run", "import {other} --dry-run", 60),
    ("history", "history", _MOST_LINES),
    ("rollback", "rollback", _MOST_LINES),
)
"""Title, words after `eqmail`, and how many lines of the output are shown."""

NARROW, WIDE = 80, 120
ALSO_WIDE = ("--help", "--home {new} setup --single-user --dry-run", "config show", "history", "rollback", "doctor")
"""The beginnings of commands that are shown on a wide terminal, too."""

BUILD_PAGE = (
    ("make setup check", ("mkusers", "setup", "check")),
    ("./config-fast mail.example.org", ("config-fast mail.example.org",)),
    ("echo joe > alias/.qmail-root and the other aliases", ("alias init joe@elsewhere.example",)),
    ("echo ./Maildir/ > control/defaultdelivery", ("config set defaultdelivery ./Maildir/",)),
    ("users/assign, qmail-newu, maildirmake, chown", ("user add foo --ids 65534:65533", "user list")),
    ("the init script", ("gen-init --output {files}",)),
    ("the xinetd service", ("gen-xinetd --output {files}",)),
    ("daemontools", ("gen-daemontools --output {files}",)),
    ("does it work?", ("check", "explain foo@mail.example.org", "doctor --offline --only settings --only users")),
)
"""Each step of the page of (e)qmail, and the commands that do it."""


FRESH_FILES = "/var/files"
"""Where the build page writes service files."""


class CommandRunner:
    """Where the commands run, and under which names that is shown."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.names = {"home": self.home, "new": folder / "new", "other": folder / "other", "files": folder / "files"}

    def run(self, words: str) -> tuple[int, str]:
        """Run one command; its exit code and its output."""
        given = shlex.split(words.format(**self.names))
        command = given if given[0] == "--home" else ["--home", str(self.home), *given]
        done = eqmail(*command, cwd=self.folder, env=ENVIRON)
        return done.returncode, self.shown(done.stdout + done.stderr)

    def on_terminal(self, words: str, columns: int, typed: str = "n\n") -> tuple[int, str]:
        """Run one command on a terminal of this width, where `typed` answers a question."""
        given = shlex.split(words.format(**self.names))
        command = given if given[0] in ("--home", "--help") else ["--home", str(self.home), *given]
        master, slave = open_terminal()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        environ = {key: value for key, value in ENVIRON.items() if key not in ("COLUMNS", "LINES")}
        environ |= {"TERM": "xterm", "NO_COLOR": "1"}
        words_of = [sys.executable, "-m", "eqmail_setup", *command]
        with subprocess.Popen(words_of, stdin=slave, stdout=slave, stderr=slave, cwd=self.folder, env=environ) as run:
            os.close(slave)
            os.write(master, typed.encode())
            output = b""
            try:
                while chunk := os.read(master, 65536):
                    output += chunk
            except OSError:
                pass  # the other side is closed
        os.close(master)
        text = output.decode().replace("\r\n", "\n").removeprefix(typed)
        return run.returncode, self.shown(text)

    def shown(self, text: str) -> str:
        """The text with the names of the page, and without what is different each time."""
        for name, place in (("new", SHOWN), ("home", SHOWN), ("other", OTHER), ("files", FRESH_FILES)):
            text = text.replace(str(self.names[name]), place)
        for pattern, instead in _VOLATILE:
            text = pattern.sub(instead, text)
        return text

    def screen(self, words: str, most: int = _MOST_LINES, columns: int = 0) -> str:
        """The command with its output, as a block; with `columns`, that of a terminal."""
        code, output = self.on_terminal(words, columns) if columns else self.run(words)
        assert code in (0, 1) or "doctor" in words or (columns and words == "rollback"), f"{words}: {output}"
        lines = output.rstrip("\n").split("\n")
        if len(lines) > most:
            lines = [*lines[: most - 4], f"... {len(lines) - most + 1} lines more ...", *lines[-3:]]
        typed = self.shown(words.format(**self.names))
        if typed.startswith("--home "):
            typed = typed.split(" ", 2)[2]
        return "```\n" + "\n".join([f"# eqmail {typed}", *lines]) + "\n```\n"


class FreshMachine(CommandRunner):
    """A machine on which nothing is installed yet; its home is really /var/qmail."""

    def __init__(self, isolated_root: IsolatedRoot) -> None:
        self._isolated_root = isolated_root
        self.home = Path(SHOWN)
        self.names = {"home": self.home, "new": self.home, "other": Path(OTHER), "files": Path(FRESH_FILES)}

    def run(self, words: str) -> tuple[int, str]:
        """Run one command; its exit code and its output."""
        command = shlex.join([sys.executable, "-m", "eqmail_setup", *shlex.split(words.format(**self.names))])
        output, _, code = self._isolated_root.run(f"{command} 2>&1; echo $?").rstrip("\n").rpartition("\n")
        return int(code), self.shown(output)

    def left(self) -> list[str]:
        """What lies in the home."""
        return sorted(self._isolated_root.run(f"ls -A {SHOWN}").split())


def screens(folder: Path) -> str:
    """The page of screens."""
    from tests.integration.toolkit.test_import import old_home

    runner = CommandRunner(folder)
    made = ("setup --single-user", "config-fast mail.example.org", "alias init joe@elsewhere.example")
    for words in (*made, "alias add sales joe@elsewhere.example"):
        runner.run(words)
    old_home(folder / "other", 12)
    parts = [
        "# Screens\n\nTerminals of 80 and 120 columns, by `python -m tests.support.screens docs`; long ones are cut.\n"
    ]
    for title, words, most in SCREENS:
        parts.append(f"## {title}\n\n{runner.screen(words, most, NARROW)}")
        if words.startswith(ALSO_WIDE):
            parts.append(f"120 columns:\n\n{runner.screen(words, most, WIDE)}")
    return "\n".join(parts)


def build_page(folder: Path) -> str:
    """The build page from top to bottom, twice, then rollback."""
    isolated_root = IsolatedRoot(folder, "exec sleep infinity")
    try:
        return _build_page(FreshMachine(isolated_root))
    finally:
        isolated_root.sink()


def _build_page(runner: FreshMachine) -> str:
    parts = [
        "# The build page as commands\n\nEach step of the page of (e)qmail, on a fresh machine; then the same "
        "again; then back.\nMade by `python -m tests.support.screens docs`, as root; a test does the same.\n"
    ]
    for title, commands in BUILD_PAGE:
        parts += [f"## {title}\n", *(runner.screen(words, 16) for words in commands)]
    parts += ["## The same again: No changes needed.\n"]
    for _, commands in BUILD_PAGE:
        parts += [
            runner.screen(words, 6) for words in commands if not words.startswith(("user list", "explain", "doctor"))
        ]
    parts += ["## And back\n", runner.screen("history", 12)]
    while not runner.run("rollback --dry-run")[0]:
        parts.append(runner.screen("rollback", 8))
    parts += [runner.screen("history", 16)]
    parts += ["And the installation itself:\n", runner.screen("rollback 1", 8)]
    parts += [f"What is left of it: {', '.join(runner.left())}; and the accounts.\n"]
    return "\n".join(parts)


def in_folder(make: object) -> str:
    """A page, made in a folder that every account can reach."""
    assert callable(make)
    with tempfile.TemporaryDirectory(prefix="eqmail-screens-", dir="/tmp", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o755)
        return str(make(Path(name)))


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1])
    (folder / "screens.md").write_text(in_folder(screens))
    if os.geteuid() == 0:
        (folder / "build-page.md").write_text(in_folder(build_page))
    else:
        subprocess.run(["echo", "build-page.md needs root"], check=True)


if __name__ == "__main__":
    main()
