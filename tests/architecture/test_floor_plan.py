"""The floor plan: imports go downwards only, and third-party code enters only where it may."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "eqmail_core"

FLOORS = {
    "values": 0,
    "formats": 1,
    "protocols": 1,
    "control": 2,
    "policy": 2,
    "store": 3,
    "net": 3,
    "system": 3,
    "services": 4,
    "programs": 5,
}
SIDEWAYS = {("protocols", "formats"), ("store", "system"), ("net", "system")}
PURE_FLOORS_MAY_NOT = {"os", "socket", "random", "asyncio", "logging", "time", "subprocess", "select", "fcntl"}
# values/instant.py renders an instant that it is given; it needs the calendar of `time`, never its clock.
PURE_EXCEPTIONS = {("values/instant.py", "time")}
THIRD_PARTY = {
    "uvloop": ("net",),
    "dns": ("net",),
    "cdbx": ("store",),
    "cryptography": ("net", "services", "system"),
    "idna": ("formats",),
    "publicsuffixlist": ("services",),
    "prometheus_client": ("services",),
}
SETUP_MAY_USE = {"values", "formats", "control", "policy", "system", "store"}


def imports(path: Path) -> set[str]:
    """Absolute names of the modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            found.add(node.module)
            if node.module in ("eqmail_core.services", "eqmail_core.programs"):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(CORE.rglob("*.py"))


def room_of(path: Path) -> str:
    parts = path.relative_to(CORE).parts
    return parts[0] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CORE)))
def test_imports_go_downwards(path: Path) -> None:
    room = room_of(path)
    wrong = []
    for name in imports(path):
        if name.startswith("eqmail_setup"):
            wrong.append(name)
        if not name.startswith("eqmail_core.") or not room:
            continue
        other = name.split(".")[1]
        if other == "VERSION" or other == room:
            continue
        if FLOORS[other] >= FLOORS[room] and (room, other) not in SIDEWAYS:
            wrong.append(name)
    assert not wrong, f"{room} may not import {wrong}"


@pytest.mark.parametrize("room", ["services", "programs"])
def test_neighbours_have_no_doors(room: str) -> None:
    """A service never imports another service, a program never another program; only the list of services knows all."""
    wrong = []
    for path in sorted((CORE / room).rglob("*.py")):
        own = path.relative_to(CORE / room).parts[0].removesuffix(".py")
        if own == "staff":
            continue
        for name in imports(path):
            parts = name.split(".")
            if parts[:2] == ["eqmail_core", room] and len(parts) > 2 and parts[2] != own:
                wrong.append(f"{path.relative_to(CORE)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(CORE)))
def test_foreign_code_enters_where_it_may(path: Path) -> None:
    room = room_of(path)
    for name in imports(path):
        top = name.split(".")[0]
        if top == "eqmail_core" or top in sys.stdlib_module_names:
            continue
        assert room in THIRD_PARTY.get(top, ()), f"{top} may not be imported in {room}"


def test_lower_floors_are_pure() -> None:
    wrong = []
    for path in modules():
        room = room_of(path)
        if not room or FLOORS[room] > 2:
            continue
        tops = {name.split(".")[0] for name in imports(path)}
        short = str(path.relative_to(CORE))
        wrong += [f"{short}: {top}" for top in tops & PURE_FLOORS_MAY_NOT if (short, top) not in PURE_EXCEPTIONS]
    assert not wrong


def test_the_toolkit_reaches_down_only_to_the_shared_rooms() -> None:
    wrong = []
    for path in sorted((ROOT / "eqmail_setup").rglob("*.py")):
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "eqmail_core" and len(parts) > 1 and parts[1] not in SETUP_MAY_USE:
                wrong.append(f"{path.name}: {name}")
    assert not wrong


def test_rooms_have_the_size_of_a_thought() -> None:
    """Nothing above 500 lines; above 300 the module docstring says why it is long."""
    wrong = []
    for path in [*modules(), *sorted((ROOT / "eqmail_setup").rglob("*.py"))]:
        lines = path.read_text().count("\n")
        doc = ast.get_docstring(ast.parse(path.read_text())) or ""
        if lines > 500 or (lines > 300 and "Long because" not in doc):
            wrong.append(f"{path.relative_to(ROOT)}: {lines} lines")
    assert not wrong


def test_programs_are_thin() -> None:
    wrong = [
        f"{path.name}: {count} lines"
        for path in sorted((CORE / "programs").glob("*.py"))
        if (count := path.read_text().count("\n")) > 60
    ]
    assert not wrong
