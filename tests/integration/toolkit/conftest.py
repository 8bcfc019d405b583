"""What the tests of commands share: a private installation, and a way to run a command that is killed on its way."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.resolver
import pytest

from eqmail_setup.cli.app import run
from eqmail_setup.diagnostics.checks import old_programs, start_scripts
from eqmail_setup.logs import sources as log_sources
from tests.support.name_server import NameServer, Zone
from tests.support.requirements import demand_own_sources

# What the doctor looks at outside the installation.
MACHINE = {
    old_programs: ("LINKS", "USUAL_HOMES", "OTHER_SCRIPTS"),
    start_scripts: ("PLACES",),
    log_sources: ("FOLDERS", "FILES"),
}

Run = Callable[..., int]
# The system calls by which a command changes anything; a kill comes just before one of them.
CHANGING = ("mkdir", "mkfifo", "rename", "unlink", "rmdir", "symlink", "fchmod", "fchown", "chmod", "write", "open")


@pytest.fixture(autouse=True)
def machine_without_mail(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where this process looks for what the machine has: links to mailers, other homes, start scripts.

    Tests run beside others that install into the usual places, and on machines that have a mail server.
    """
    root = tmp_path_factory.mktemp("machine")
    for module, names in MACHINE.items():
        for name in names:
            real: tuple[str, ...] = getattr(module, name)
            monkeypatch.setattr(module, name, tuple(path if path[0] == "{" else f"{root}{path}" for path in real))
    return root


@pytest.fixture
def own_sources() -> None:
    """Sources beside which byte code can be written."""
    demand_own_sources()


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A private installation, with the working directory in its parent."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EQMAIL_HOME", raising=False)
    Path("conf-split").write_text("2\n")
    made = str(tmp_path / "home")
    assert run(["--home", made, "setup", "--single-user"]) == 0
    assert run(["--home", made, "config-fast", "mail.example.org"]) == 0
    return made


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    """The records of the only name server that commands ask, to be filled by the test."""
    records: Zone = {}
    with NameServer(records) as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
        monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
        yield records


def killed_at(step: int, words: list[str]) -> bool:
    """Run a command in a process that is killed before its change number `step`; whether it got that far."""
    pid = os.fork()
    if not pid:
        count = 0

        def before(name: str) -> None:
            original = getattr(os, name)

            def counted(*values: object, **options: object) -> object:
                nonlocal count
                changes = name != "open" or int(str(values[1])) & os.O_CREAT
                if changes and count == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += bool(changes)
                return original(*values, **options)

            setattr(os, name, counted)

        for name in CHANGING:
            before(name)
        os._exit(run(words))
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def picture(home: str) -> dict[str, tuple[int, int, int, bytes]]:
    """Everything below a home that a command may change: mode, owner and content by path."""
    found = {}
    for folder, names, files in os.walk(home):
        for name in (*names, *files):
            path = f"{folder}/{name}"
            short = path.removeprefix(home)
            if short.startswith("/history") or short == "/.setup.lock":
                continue
            seen = os.lstat(path)
            content = b""
            if os.path.islink(path):
                content = os.readlink(path).encode()
            elif os.path.isfile(path):
                content = Path(path).read_bytes()
            found[short] = (seen.st_mode, seen.st_uid, seen.st_gid, content)
    return found
