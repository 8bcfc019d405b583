"""Texts for people are plain: help, errors and reports of the commands, and the pages made of declarations.

The list only grows. C's sentences are contracts and stay: those of the classic programs are not looked at.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.cli.describe import describe_commands
from eqmail_setup.reference.command_help import CommandHelp

ROOT = Path(__file__).resolve().parents[2]
TOOLKIT = ROOT / "eqmail_setup"

FORBIDDEN = re.compile(
    r"\b(mend(s|ed|ing)?|tells?|told|nobody|somebody|vouch(es|ed)?|wish(es|ed)?|obey(s|ed)?|as ever|for ever|its kind"
    r"|sisters?|but for|in the place of|is none|kept so|as it should be|strangers?|whither|round in a circle"
    r"|a mistake of ours)\b"
)
NAMES = re.compile(r"\bWISHES\b|--\S+|`[^`]*`|\bnobody:|'nobody'|\w+\.stranger")
"""What is a name, not a word."""

STABLE = {"nobody", "stranger"}
"""The account, and the last word of the id of a finding, which never changes."""

MAX_SHORT_HELP = 60


def words_in(text: str) -> list[str]:
    """The forbidden words of a text."""
    return [found[0] for found in FORBIDDEN.finditer(NAMES.sub("", " ".join(text.split())))]


def everything(command: CommandHelp) -> Iterator[CommandHelp]:
    yield command
    for inner in command.commands:
        yield from everything(inner)


def docstrings(tree: ast.Module) -> set[int]:
    """The nodes of docstrings, which are for developers."""
    found = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for item in body if isinstance(body, list) else ():
            if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
                found.add(id(item.value))
    return found


def test_help_is_in_plain_words() -> None:
    wrong = {}
    for command in everything(describe_commands()):
        texts = [command.short, command.text, *(option.text for option in command.options)]
        found = words_in(" ".join(texts))
        if found:
            wrong[command.path] = found
    assert wrong == {}


def test_short_help_fits_a_line() -> None:
    assert [entry.help for entry in COMMANDS.values() if len(entry.help) > MAX_SHORT_HELP] == []
    assert [
        f"{command.path}: {command.short}"
        for command in everything(describe_commands())
        if command.short.endswith("...") or len(command.short) > MAX_SHORT_HELP
    ] == []


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(TOOLKIT.rglob("*.py")) if "legacy" not in path.parts],
    ids=lambda path: str(path.relative_to(TOOLKIT)),
)
def test_what_commands_say_is_in_plain_words(path: Path) -> None:
    tree = ast.parse(path.read_text())
    hidden = docstrings(tree)
    wrong = [
        f"line {node.lineno}: {', '.join(found)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in hidden
        if (found := words_in(node.value)) and node.value not in STABLE
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["commands.md", "conf.md", "control.md", "environment.md"])
def test_reference_pages_are_in_plain_words(name: str) -> None:
    lines = (ROOT / "docs/reference" / name).read_text().splitlines()
    wrong = [f"line {number}: {', '.join(found)}" for number, line in enumerate(lines, 1) if (found := words_in(line))]
    assert wrong == []
