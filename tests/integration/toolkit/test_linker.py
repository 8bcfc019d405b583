"""Programs that start per message are linked: what they begin with is found without a look at the disk."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from eqmail_core.smtpd import qmail_smtpd
from eqmail_setup.installation import bytecode
from eqmail_setup.installation import linker as linking
from eqmail_setup.installation.launchers import launchers, module_file

LINKED = [program for program in launchers() if linking.is_linked(module_file(program))]


def searched(home: Path, name: str, *words: str, stdin: bytes = b"") -> set[str]:
    """The modules of the suite that Python has looked for on its own when a program ran."""
    run = subprocess.run(
        [sys.executable, "-IS", "-X", "importtime", home / "bin" / name, *words],
        input=stdin,
        capture_output=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SENDER": "a@b", "NEWSENDER": "a@b", "DTLINE": "x\n"},
    )
    assert b"Traceback" not in run.stderr
    return set(re.findall(r"\| +(eqmail_core[\w.]*)", run.stderr.decode()))


def test_every_program_per_message_is_linked() -> None:
    assert {Path(module_file(program)).stem for program in LINKED} == linking.LINKED_PROGRAMS


def test_what_qmail_smtpd_imports_later_is_linked_where_it_looks() -> None:
    folder = Path(qmail_smtpd.__file__).parent
    (source,) = (str(path) for path in folder.rglob("*.py") if linking.is_linked(str(path)))
    path = Path(linking.linked_path(source)).relative_to(folder).as_posix()
    looked_for = f"{{folder}}/{path}".replace(sys.implementation.cache_tag or "", "{tag}")
    assert looked_for in Path(qmail_smtpd.__file__).read_text()


@pytest.mark.usefixtures("own_sources")
@pytest.mark.parametrize("name", [program.name for program in LINKED])
def test_a_program_begins_with_what_it_was_linked_with(private_home: Path, name: str) -> None:
    assert not searched(private_home, name) & {"eqmail_core", "eqmail_core.outcome"}


@pytest.mark.usefixtures("own_sources")
def test_a_message_is_injected_without_looking_for_a_module(private_home: Path) -> None:
    """Apart from what queues where no service runs, which is another program's work."""
    found = searched(private_home, "qmail-inject", "-n", stdin=b"To: a\n\n")
    assert not found


@pytest.mark.parametrize("content", [b"", b"nonsense", linking.MAGIC_NUMBER, linking.MAGIC_NUMBER + b"[\0\0\0\0"])
def test_a_program_works_without_what_it_was_linked_with(private_home: Path, content: bytes) -> None:
    forward = private_home / "bin/forward"
    (linked,) = re.findall(r"'(\S+\.linked)'", forward.read_text())
    (private_home / "damaged").write_bytes(content)
    for other in (private_home / "damaged", private_home / "none"):
        forward.write_text(forward.read_text().replace(linked, str(other)))
        linked = str(other)
        run = subprocess.run([forward, "x"], capture_output=True, check=False, env={"NEWSENDER": "a@b"})
        assert (run.returncode, run.stderr) == (100, b"forward: fatal: DTLINE not set\n")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A package with one program that is linked."""
    package = tmp_path / "eqmail_core"
    for folder in ("programs", "system"):
        (package / folder).mkdir(parents=True)
        (package / folder / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "system/linked.py").write_text("")
    (package / "system/entry.py").write_text("import os\n")
    (package / "system/used.py").write_text("")
    (package / "programs/forward.py").write_text("from eqmail_core.system import used\n")
    return package


def test_linking_is_part_of_compiling(copy: Path) -> None:
    program = str(copy / "programs/forward.py")
    assert program in bytecode.stale_modules(str(copy))
    bytecode.compile_folder(str(copy))
    assert linking.is_fresh(program)
    assert bytecode.stale_modules(str(copy)) == []


@pytest.mark.parametrize("module", ["system/used.py", "system/linked.py", "programs/forward.py"])
def test_a_change_of_any_module_makes_it_stale(copy: Path, module: str) -> None:
    bytecode.compile_folder(str(copy))
    (copy / module).write_text("# changed\n")
    assert str(copy / "programs/forward.py") in bytecode.stale_modules(str(copy))
    bytecode.compile_folder(str(copy))
    assert bytecode.stale_modules(str(copy)) == []


@pytest.mark.parametrize("content", [b"", b"nonsense", linking.MAGIC_NUMBER, linking.MAGIC_NUMBER + b"nonsense"])
def test_a_damaged_file_is_written_anew(copy: Path, content: bytes) -> None:
    bytecode.compile_folder(str(copy))
    program = str(copy / "programs/forward.py")
    Path(linking.linked_path(program)).write_bytes(content)
    assert not linking.is_fresh(program)
