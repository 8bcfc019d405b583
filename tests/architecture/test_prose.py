"""Documents: their paths and commands exist, and their words are plain present-day English.

Pages that are made from the declarations and the output of commands have the words of those; they are not checked here.
"""

import re
from pathlib import Path

import click
import pytest

from eqmail_setup.cli.app import cli

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ("docs/reference/", "docs/answers.md", "docs/screens.md", "docs/build-page.md")
# What a path in a document may begin at: documents of the core name modules from there.
BASES = ("", "eqmail_core", "eqmail_setup", "docs", "tests/reliability", "tests/benchmarks", "tests/fuzz")
_PATH = re.compile(
    r"(?<![\w/.*-])((?:[a-z_]+/)+[a-z_0-9]+\.(?:py|md|c|sh))\b|(?<![\w/.-])((?:eqmail_core|eqmail_setup|tests|docs)/[\w/.-]*\w)"
)
_COMMAND = re.compile(
    r"(?:`|^ {4}|; |\()(?:[\w/]*/)?eqmail (?:--home \S+ )?([a-z][a-z0-9-]*)(?: ([a-z][a-z-]*))?(?=[ `;,)\n])",
    re.MULTILINE,
)
# Words of an older style that a reader of today stumbles over.  The list only grows.
UNWANTED = re.compile(
    r"\b(mend(s|ed|ing)?|tells?|told|telling|nobody|somebody|vouch\w*|wish(es|ed|ing)?|obeys?|obeyed|strangers?|whither"
    r"|as ever|for ever|kept so|as it should be|goes round in a circle|but for|in the place of|is none|its sisters?"
    r"|houses?|floors?|desks?|lanes?|errands?|patience|amid|anew|whoever)\b",
    re.IGNORECASE,
)
# Names that contain such a word: the account nobody, and the first words of quoted output.
ALLOWED = re.compile(r"QMAILDSN|\buser `?nobody`?|`[^`]*`|\"[^\"]*\"")


def documents(*left_out: str) -> list[str]:
    found = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]
    names = sorted(str(path.relative_to(ROOT)) for path in found)
    return [name for name in names if not name.startswith((*GENERATED, *left_out, "tests/data/"))]


def prose(text: str) -> list[tuple[int, str]]:
    """Lines with their numbers, without blocks of code."""
    found, is_code = [], False
    for number, line in enumerate(text.split("\n"), 1):
        if line.startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith("    "):
            found.append((number, line))
    return found


def resolves(path: str) -> bool:
    return any((ROOT / base / path).exists() for base in BASES)


@pytest.mark.parametrize("name", documents())
def test_paths_in_documents_exist(name: str) -> None:
    paths = [match[0] or match[1] for match in _PATH.findall((ROOT / name).read_text())]
    assert [path for path in paths if not resolves(path)] == []


def is_command(words: list[str]) -> bool:
    """Whether `eqmail` has this command; words behind a command without subcommands are its arguments."""
    command: click.Command | None = cli
    for word in words:
        if not isinstance(command, click.Group):
            break
        command = command.get_command(click.Context(cli), word)
    return command is not None


@pytest.mark.parametrize("name", documents())
def test_commands_in_documents_exist(name: str) -> None:
    found = [[word for word in match if word] for match in _COMMAND.findall((ROOT / name).read_text())]
    assert [words for words in found if not is_command(words)] == []


# docs/spec quotes the C programs.
@pytest.mark.parametrize("name", documents("docs/spec/"))
def test_words_of_documents_are_plain(name: str) -> None:
    wrong = []
    for number, line in prose((ROOT / name).read_text()):
        wrong += [f"line {number}: {match[0]}" for match in UNWANTED.finditer(ALLOWED.sub("", line))]
    assert not wrong
