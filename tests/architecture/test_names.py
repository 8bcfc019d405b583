"""Names are terms of the field, so that a reader guesses their meaning. The list of unwanted words only grows."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Metaphors and words of conversation, which do not say what a thing is. Some name formats and texts of C only.
UNWANTED = frozenset(
    """
    house houses desk errand errands wish wishes opinion opinions patience lane lanes bury buried heed heeded
    crew workforce foresee herald tally keeper ledger porch advisers hearing heard deliberation
    intake guest visitor visitors bringer bringers arrivals excuse whither undertaking
    dress dressed undressed wardrobe census newcomer hurdles flavour flavours telling mend mending mended
    wished wishing stranger strangers desks town island patient
    untold hurry hurried nonsense doomed tidy lighten askers vouch spoke surprise surprised foreseen
    fleeting lasting
    adoption carrying bringing choosing advice staff barrier workman surroundings naming
    worn hear excusing beaten
    """.split()
)
PARAMETERS = {"it"}


def sources(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py")) if "data" not in path.parts]


def words(name: str) -> list[str]:
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]


def identifiers(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of everything that a module names itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@pytest.mark.parametrize(
    "path", sources("eqmail_core", "eqmail_setup", "tests"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_names_are_words_of_the_field(path: Path) -> None:
    wrong = [f"{path.stem}" for word in words(path.stem) if word in UNWANTED]
    for line, name in identifiers(ast.parse(path.read_text())):
        wrong += [f"line {line}: {name}" for word in words(name) if word in UNWANTED]
    assert not wrong


@pytest.mark.parametrize(
    "path", sources("eqmail_core", "eqmail_setup", "tests"), ids=lambda path: str(path.relative_to(ROOT))
)
def test_parameters_are_nouns(path: Path) -> None:
    wrong = [
        f"line {node.lineno}: {node.arg}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.arg) and node.arg in PARAMETERS
    ]
    assert not wrong


def test_no_public_class_name_means_two_things() -> None:
    found = Counter(
        node.name
        for path in sources("eqmail_core")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert [name for name, count in found.items() if count > 1] == []
