"""Every program and every command has a manual page that groff renders without a word, and that man finds."""

import os
import subprocess
from pathlib import Path

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.control.environment import VARIABLES
from eqmail_setup.cli.command_table import COMMANDS
from eqmail_setup.cli.describe import describe_commands
from eqmail_setup.installation.launchers import COMMAND_ALIASES, launchers
from eqmail_setup.reference import manual
from eqmail_setup.reference.manual.program_pages import FOR_USERS
from eqmail_setup.reference.manual.roff import Page
from tests.support.requirements import demand_programs

ALL_PAGES = manual.pages(describe_commands())
PAGES = {page.name: page for page in ALL_PAGES}


def rendered(content: bytes) -> str:
    """What a reader sees; groff must have nothing to say about it."""
    demand_programs("groff")
    words = ["groff", "-man", "-Tascii", "-ww", "-P-c", "-P-b", "-P-o", "-P-u"]
    done = subprocess.run(words, input=content, capture_output=True, check=True)
    assert done.stderr == b""
    return done.stdout.decode("ascii")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_rendered_without_a_warning(name: str) -> None:
    text = rendered(PAGES[name].content)
    assert text.lstrip().startswith(f"{name}({PAGES[name].section})")
    assert " - " in text
    assert "Source:" not in text


def test_every_program_and_every_command_has_one() -> None:
    wanted = {program.name for program in launchers()} - COMMAND_ALIASES
    wanted |= {f"eqmail-{name}" for name, entry in COMMANDS.items() if entry.section} | {"eqmail"}
    assert wanted <= set(PAGES)
    assert len(ALL_PAGES) == len(PAGES)
    assert {program.name for program in launchers()} >= FOR_USERS


def test_every_setting_and_every_variable_is_in_one() -> None:
    settings, variables = (PAGES[name].content.decode() for name in ("qmail-control", "eqmail-environment"))
    for control in Controls.declared().values():
        assert f"\\fB{control.file.replace('-', chr(92) + '-')}\\fR" in settings
    for variable in VARIABLES:
        assert f"\\fB{variable.name}\\fR" in variables


def test_references_lead_to_pages() -> None:
    elsewhere = {"tcpserver", "sendmail"}
    for page in ALL_PAGES:
        text = page.content.decode().replace("\\-", "-")
        for line in text.partition('.SH "SEE ALSO"')[2].splitlines():
            for word in filter(None, line.rstrip(",").split(", ")):
                name = word.replace("\\fB", "").partition("\\fR")[0]
                assert word.startswith(".") or name in PAGES or name in elsewhere, f"{page.name}: {word}"


@pytest.mark.parametrize("text", ["'quoted", ".TH x", "\\fBx", "a-b ~x ^ `", "\\", "."])
def test_no_text_is_a_roff_command(text: str) -> None:
    page = Page("x", 1, "test")
    page.heading("TEXT")
    page.text(text)
    page.literal(text)
    page.item(text, text)
    shown = rendered(page.content)
    assert shown.count(text) >= 4


def test_man_finds_them_where_setup_put_them(at_home: str) -> None:
    environ = os.environ | {"MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C"}
    for name in ("qmail-send", "qmail-control", "dot-qmail", "eqmail-import", "forward"):
        done = subprocess.run(
            ["man", "-M", f"{at_home}/man", name], capture_output=True, text=True, env=environ, check=True
        )
        assert f"{name} - " in done.stdout
    assert Path(at_home, "man/man8/qmail-send.8").stat().st_mode & 0o777 == 0o644
