"""The pages of screens can be made, and the commands of the build page work: first run, second run, rollback."""

from pathlib import Path

import pytest

from tests.support.screens import BUILD_PAGE, FRESH_FILES, SCREENS, build_page, in_folder, screens

DOCS = Path(__file__).resolve().parents[3] / "docs"


def blocks(page: str) -> dict[str, list[str]]:
    """The outputs of each command, in order, by command."""
    found: dict[str, list[str]] = {}
    for block in page.split("```\n# eqmail ")[1:]:
        command, _, output = block.partition("\n")
        found.setdefault(command, []).append(output.partition("```")[0])
    return found


def test_every_screen_is_on_the_page_and_can_be_made_again() -> None:
    there = (DOCS / "screens.md").read_text()
    made = in_folder(screens)
    for block in made.partition("120 columns:")[0].split("```")[1::2]:
        assert max(map(len, block.splitlines())) <= 80
    for title, _, _ in SCREENS:
        assert f"\n## {title}\n" in there
    assert set(blocks(made)) == set(blocks(there))
    for command, (output, *_) in blocks(made).items():
        assert output.strip(), command


@pytest.mark.root
def test_the_build_page_from_top_to_bottom_again_and_back() -> None:
    there = (DOCS / "build-page.md").read_text()
    made = in_folder(build_page)
    assert set(blocks(made)) == set(blocks(there))
    output = blocks(made)
    for _, commands in BUILD_PAGE:
        for words in commands:
            if words.startswith(("mkusers", "setup", "config", "alias", "user add", "gen")):
                first, again = output[words.format(files=FRESH_FILES)]
                assert "No changes needed." in again, words
                assert "No changes needed." not in first, words
    explained = output["explain foo@mail.example.org"][0]
    assert "Maildir /var/qmail/users/foo/Maildir/" in explained and explained.rstrip().endswith("delivered")
    assert len(output["rollback"]) >= 4
    assert made.endswith("What is left of it: .setup.lock, history; and the accounts.\n"), made[-300:]
