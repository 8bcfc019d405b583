"""One home per fact: control-file names stand in their declarations alone.  Every public name is documented."""

import ast
from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls

ROOT = Path(__file__).resolve().parents[2]
DECLARED = sorted((ROOT / "eqmail_core/control").glob("*_settings.py"))
# Words that are also ordinary words of the code: channel names, the host's own name as the fallback of the reader.
ORDINARY = {"locals": (), "me": ("control/setting.py",)}


def sources() -> list[Path]:
    return [
        path
        for top in ("eqmail_core", "eqmail_setup")
        for path in sorted((ROOT / top).rglob("*.py"))
        if path not in DECLARED
    ]


def docstrings(tree: ast.AST) -> set[ast.AST]:
    """The expression nodes of a module that are prose or names of attributes, not data."""
    prose = {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    slots = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__slots__"
    ]
    return prose | {inner for node in slots for inner in ast.walk(node)}


def test_control_file_names_have_one_home() -> None:
    names = {control.file for control in Controls.declared().values()}
    wrong = []
    for path in sources():
        tree = ast.parse(path.read_text())
        prose = docstrings(tree)
        short = str(path.relative_to(ROOT)).removeprefix("eqmail_core/")
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or node in prose or node.value not in names:
                continue
            if short not in ORDINARY.get(str(node.value), ()):
                wrong.append(f"{short}:{node.lineno}: {node.value!r}")
    assert not wrong


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_name_is_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                if node.name.startswith("_"):
                    continue
                overloaded = any(isinstance(d, ast.Name) and d.id == "overload" for d in node.decorator_list)
                if not ast.get_docstring(node) and not overloaded:
                    missing.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node.body, f"{node.name}.")

    look(tree.body, "")
    assert not missing
