"""The repository map of CONTRIBUTING is that of the tree, and the tests lie as the code does."""

import re
from pathlib import Path

from tests.architecture.test_layers import CORE, RANK, TOOLKIT

ROOT = Path(__file__).resolve().parents[2]
MAP = (ROOT / "CONTRIBUTING.md").read_text()


def packages(top: Path) -> set[str]:
    return {path.parent.name for path in top.glob("*/__init__.py")}


def section(title: str) -> str:
    return MAP.split(f"### {title}\n")[1].split("\n#")[0]


def test_the_map_has_every_package_of_the_core_at_its_rank() -> None:
    found = {}
    for rank, row in re.findall(r"^\| (\d) \| (.*) \|$", section("eqmail_core"), re.MULTILINE):
        for name in re.findall(r"[a-z_0-9]+", re.sub(r"\([^()]*\)", "", row)):
            found[name] = int(rank)
    assert found == RANK


def test_the_map_has_every_package_of_the_toolkit() -> None:
    rows = re.findall(r"^\| ([a-z_, ]+) \|", section("eqmail_setup"), re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} - {"package"} == packages(TOOLKIT)


def test_the_tests_of_a_package_have_its_name() -> None:
    """Unit and integration tests lie in folders of the packages' names; `toolkit` is eqmail_setup."""
    allowed = packages(CORE) | {"toolkit", "postgres"}
    found = {path.parent for kind in ("unit", "integration") for path in (ROOT / "tests" / kind).glob("*/*.py")}
    assert sorted(str(path.relative_to(ROOT)) for path in found if path.name not in allowed) == []
