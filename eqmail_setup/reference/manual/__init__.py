"""Manual pages, rendered from programs, commands and declarations."""

from eqmail_setup.reference.command_help import CommandHelp
from eqmail_setup.reference.manual.command_pages import command_pages
from eqmail_setup.reference.manual.file_pages import file_pages
from eqmail_setup.reference.manual.program_pages import program_pages
from eqmail_setup.reference.manual.roff import Page


def pages(top: CommandHelp) -> list[Page]:
    """Every page, by section and name; there is one of each name."""
    return sorted([*program_pages(), *command_pages(top), *file_pages()], key=lambda page: (page.section, page.name))
