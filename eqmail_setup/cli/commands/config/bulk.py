"""The verbs of `eqmail config` that are about all settings at once, as JSON: export, import, schema."""

import json
from typing import Any

import click

from eqmail_core.control.controls import Controls
from eqmail_core.system.files import read_file
from eqmail_setup.cli.commands.config.common import carry_out_changes, written
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import ChangeOptions, reload_option, staged_change_options
from eqmail_setup.cli.output import print_note
from eqmail_setup.cli.values import InputFile
from eqmail_setup.errors import usage_error
from eqmail_setup.settings.editor import declaration
from eqmail_setup.settings.secrets import has_secret

_BINARY = (".pem", ".cdb")


@click.command("export")
@click.pass_context
def export(context: click.Context) -> int:
    """Print every setting that is set as JSON, without secrets and compiled files.

    \b
    Examples:
      eqmail config export > settings.json
    """
    site, found = require_installation(context), {}
    for control in Controls.declared().values():
        content = None if control.file.endswith(_BINARY) else read_file(f"{site.control}/{control.file}")
        if content is not None and has_secret(control.file, content):
            print_note(f"{control.file}: not exported, because it holds passwords")
        elif content is not None:
            found[control.file] = content.decode("utf-8", "surrogateescape")
    click.echo(json.dumps(found, indent=1))
    return 0


@click.command("import")
@click.argument("file", type=InputFile(dash=True))
@reload_option
@staged_change_options
@click.pass_context
def import_(context: click.Context, file: str, reload: bool, change: ChangeOptions) -> int:
    """Write the settings of a JSON FILE that export made (- for standard input); others stay as they are.

    \b
    Examples:
      eqmail config import settings.json --diff
    """
    try:
        with click.open_file(file, "rb") as source:
            made: Any = json.loads(source.read())
        if not isinstance(made, dict) or not all(isinstance(text, str) for text in made.values()):
            raise TypeError("it is one JSON object of names and texts")
        contents = {declaration(name): made[name].encode("utf-8", "surrogateescape") for name in made}
    except (ValueError, TypeError) as error:
        raise usage_error(f"{file}: is not what export makes ({error})") from error
    return carry_out_changes(
        context,
        change,
        reload,
        lambda site, world: [
            item for control, content in contents.items() for item in written(site, world, control, content)
        ],
    )


@click.command("schema")
def schema() -> int:
    """Print a JSON schema of all settings.

    \b
    Examples:
      eqmail config schema > settings.schema.json
    """
    from eqmail_setup.settings.validation import ControlsModel

    click.echo(json.dumps(ControlsModel.model_json_schema(), indent=1))
    return 0


VERBS = (export, import_, schema)
