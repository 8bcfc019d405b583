"""Nodes of a shared queue for tests: single-user installations on one database, and what docs/cluster.md says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import eqmail
from tests.support.mail_system import MailSystem, make_maildir, until

ME = "mail.example.org"
BOX = f"box@{ME}"
PAGE = Path(__file__).resolve().parents[2] / "docs/cluster.md"


def documented(start: str) -> str:
    """The indented block of docs/cluster.md whose first line begins with `start`, without its indentation."""
    blocks = re.findall(r"(?:^    .*\n(?:\n(?=    ))?)+", PAGE.read_text(), re.M)
    (found,) = [block for block in blocks if block.startswith(f"    {start}")]
    return re.sub(r"(?m)^    ", "", found)


class ClusterNode(MailSystem):
    """A node; mail for BOX goes where `instruction` says."""

    def __init__(self, home: Path, name: str, conninfo: str, instruction: str, **controls: str) -> None:
        for words in (["setup", "--single-user"], ["config-fast", ME]):
            done = eqmail("--home", home, *words)
            assert done.returncode == 0, done.stdout + done.stderr
        with (home / "site").open("a") as site:
            site.write(f"queue postgresql:{conninfo}\n")
        for control, text in (controls | {"queuenode": name}).items():
            (home / "control" / control).write_text(f"{text}\n")
        (home / "alias/.qmail-box").write_text(f"{instruction}\n")
        super().__init__(home)

    def accepts(self) -> bool:
        """Whether it takes a message."""
        try:
            self.send([BOX], "Subject: first\n\nbody\n")
        except Exception:
            return False
        return True


@contextmanager
def running_nodes(folder: Path, conninfo: str, instruction: str = "", **controls: str) -> Iterator[list[ClusterNode]]:
    """Two nodes that take mail; without an `instruction` both deliver to `folder`/Maildir."""
    if not instruction:
        instruction = f"{make_maildir(folder / 'Maildir')}/"
    running: list[ClusterNode] = []
    try:
        for name in ("ann", "bob"):  # one after the other: those that run are stopped when the next fails
            running.append(ClusterNode(folder / name, name, conninfo, instruction, **controls))  # noqa: PERF401
        for node in running:
            until(node.accepts, f"node {node.home.name} has the database")
        yield running
    finally:
        for node in running:
            if node.process and node.process.poll() is None:
                node.stop()
