"""`eqmail reference`: render the reference pages, or say whether they are up to date."""

import click

from eqmail_setup.errors import EqmailError


@click.command("reference", hidden=True)
@click.argument("folder")
@click.option("--check", is_flag=True, help="Write nothing; exit 3 when a page is stale.")
def command(folder: str, check: bool) -> int:
    """Render docs/reference from the declarations into FOLDER."""
    from eqmail_setup.reference.pages import stale_pages, write_pages

    if not check:
        write_pages(folder)
        return 0
    stale = stale_pages(folder)
    if stale:
        raise EqmailError(f"{folder}: {', '.join(stale)} differ from the declarations; run: make docs")
    return 0
