"""Taking over the modules of a linked program."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from eqmail_core.system.linked import load_linked

if TYPE_CHECKING:
    from eqmail_core.system.linked import Part


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Path]:
    """A package `linkee` of three modules, which is forgotten again."""
    folder = tmp_path / "linkee"
    folder.mkdir()
    (folder / "__init__.py").write_text("'''A package.'''\n")
    (folder / "one.py").write_text("WHERE = 'in the source'\n")
    (folder / "two.py").write_text("from linkee.one import WHERE\nfrom linkee import other\nNAME = __name__\n")
    (folder / "other.py").write_text("FOUND = 'by looking'\n")
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "linkee"]:
        del sys.modules[name]


def part(path: Path, code: str) -> "Part":
    found = os.stat(path)
    is_package = path.name == "__init__.py"
    name = "linkee" if is_package else f"linkee.{path.stem}"
    folder = str(path.parent) if is_package else ""
    return name, str(path), int(found.st_mtime), found.st_size, folder, compile(code, str(path), "exec")


def parts(package: Path) -> "list[Part]":
    one, two = package / "one.py", package / "two.py"
    return [part(package / "__init__.py", ""), part(one, "WHERE = 'linked'"), part(two, two.read_text())]


def test_modules_are_as_if_they_were_imported(package: Path) -> None:
    load_linked(parts(package))
    import linkee.two  # type: ignore[import-not-found]

    assert linkee.one.WHERE == linkee.two.WHERE == "linked"
    assert linkee.two.NAME == linkee.two.__name__ == "linkee.two"
    assert (linkee.__package__, linkee.two.__package__) == ("linkee", "linkee")
    assert linkee.two.__file__ == str(package / "two.py")


def test_a_module_that_is_not_linked_is_found_by_looking(package: Path) -> None:
    load_linked(parts(package))
    import linkee.other

    assert linkee.other.FOUND == "by looking"


def test_a_changed_source_undoes_the_link(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = parts(package)
    (package / "one.py").write_text("WHERE = 'edited since'\n")
    load_linked(linked)
    assert "linkee" not in sys.modules
    monkeypatch.syspath_prepend(package.parent)
    import linkee.one

    assert linkee.one.WHERE == "edited since"


def test_a_missing_source_is_reported(package: Path) -> None:
    linked = parts(package)
    (package / "one.py").unlink()
    with pytest.raises(FileNotFoundError):
        load_linked(linked)
    assert "linkee" not in sys.modules
