"""The manual pages, made of what the programs, the commands and the declarations say of themselves."""

from functools import cache

from eqmail_setup.reference.manual.roff import Page


@cache
def pages() -> list[Page]:
    """Every page, by section and name; there is one of each name."""
    from eqmail_setup.reference.manual.command_pages import command_pages
    from eqmail_setup.reference.manual.file_pages import file_pages
    from eqmail_setup.reference.manual.program_pages import program_pages

    return sorted([*program_pages(), *command_pages(), *file_pages()], key=lambda page: (page.section, page.name))
