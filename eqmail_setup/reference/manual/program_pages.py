"""A manual page for each program in bin/: the docstring of its module, with the settings and variables that it reads.

The docstring of a program begins `NAME ARGUMENTS: purpose.`; `Exits:` begins its exit codes, `Source:` its sources.
"""

import re
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.control.environment import VARIABLES
from eqmail_setup.installation.launchers import COMMAND_ALIASES, Launcher, launchers
from eqmail_setup.reference.declarations import described
from eqmail_setup.reference.manual.roff import Page

FOR_USERS = frozenset(
    (
        "bouncesaying condredirect datemail elq except forward maildir2mbox maildirmake maildirwatch mailsubj pinq"
        " predate preline qail qbiff qreceipt qsmhook tcp-env tcprules"
    ).split()
)
"""Programs whose page is in section 1; those of all others are in section 8."""

_FORMATS = {"addresses", "dot-qmail", "envelopes", "maildir", "mbox", "qmail-command", "qmail-log", "qmail-users"}
_PAGE = re.compile(r"([a-z][a-z0-9_-]*)\(([1-8])\)")
_EXITS = re.compile(r"\s*(?<![a-z])(Exits?:? .*?)(?=\s*Source:|\Z)", re.DOTALL)
_SOURCE = re.compile(r"\s*Source: .*\Z", re.DOTALL)


def program_pages() -> Iterator[Page]:
    """The pages of all programs that are no commands under another name; those are with the commands."""
    for program in launchers():
        if program.name not in COMMAND_ALIASES:
            yield _page(program)


def _page(program: Launcher) -> Page:
    text = described(program)
    first, _, rest = text.partition("\n")
    usage, _, purpose = first.partition(": ")
    synopsis = re.search(rf"^(?:    |Usage: )({re.escape(program.name)} .*)\n?", rest, re.MULTILINE)
    if synopsis:
        usage, rest = synopsis[1], rest.replace(synopsis[0], "")
    page = Page(program.name, 1 if program.name in FOR_USERS else 8, purpose.rstrip("."))
    page.heading("SYNOPSIS")
    page.usage(program.name + usage[len(usage.split(" ")[0]) :])
    source = _SOURCE.search(rest)
    exits = _EXITS.search(rest)
    body = rest.replace(exits[0] if exits else "", "").replace(source[0] if source else "", "").strip("\n")
    page.heading("DESCRIPTION")
    page.text(f"{purpose[:1].upper()}{purpose[1:]}")
    if body.strip():
        page.text(body)
    if exits:
        page.heading("EXIT STATUS")
        page.text(exits[1].strip())
    _settings(page, program.name)
    _variables(page, program.name)
    page.see_also(_related(program.name, source[0] if source else ""))
    return page


def _settings(page: Page, name: str) -> None:
    read = [control for control in Controls.declared().values() if name in control.used_by]
    if read:
        page.heading("CONTROL FILES")
        for control in read:
            page.item(control.file, control.manual)


def _variables(page: Page, name: str) -> None:
    read = [variable for variable in VARIABLES if name in variable.used_by]
    overriding = [control for control in Controls.declared().values() if control.env and name in control.used_by]
    if read or overriding:
        page.heading("ENVIRONMENT")
        for variable in read:
            page.item(variable.name, variable.manual)
        for control in overriding:
            page.item(control.env, f"Overrides the control file `{control.file}`.")


def _related(name: str, source: str) -> list[str]:
    ours = {program.name for program in launchers()} | _FORMATS
    found = {f"{word}({section})" for word, section in _PAGE.findall(source) if word != name and word in ours}
    return [*found, "qmail-control(5)", "eqmail(8)"]
