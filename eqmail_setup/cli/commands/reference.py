"""`eqmail reference`: render the reference pages, or say whether they are up to date."""

import click

from eqmail_setup.errors import EqmailError


@click.command("reference", hidden=True)
@click.argument("folder")
@click.option("--check", is_flag=True, help="Write nothing; exit 3 when a page is stale.")
def command(folder: str, check: bool) -> int:
    """Render the reference pages into FOLDER, and the manual pages into the templates."""
    from eqmail_setup.cli.describe import describe_commands
    from eqmail_setup.installation.manual_pages import manual_folder
    from eqmail_setup.reference.pages import generated_files, stale_files, write_files

    files = generated_files(folder, manual_folder(), describe_commands())
    if not check:
        write_files(files, manual_folder())
        return 0
    stale = stale_files(files, manual_folder())
    if stale:
        text = f"{folder}: {len(stale)} pages differ from the declarations: {', '.join(stale[:5])}"
        raise EqmailError(text, hint=("eqmail", "reference", folder))
    return 0
