"""The verbs of `eqmail config` that only look: show, explain, get, lint."""

import os
from typing import TYPE_CHECKING, Any

import click

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import Column, hint_words, print_json, print_note, print_table
from eqmail_setup.errors import EqmailError, ExitCode
from eqmail_setup.settings.describe import describe, display_value, json_value, searched_text
from eqmail_setup.settings.editor import declaration
from eqmail_setup.transaction.plan import SEVERITY_WORDS

if TYPE_CHECKING:
    from eqmail_setup.settings.validation import SettingProblem


@click.command("show")
@click.argument("name", required=False)
@click.option("-n", "own", is_flag=True, help="Only what was set, not what is default.")
@json_option
@click.pass_context
def show(context: click.Context, name: str | None, own: bool, as_json: bool) -> int:
    """Show all settings with their values, or explain the one called NAME.

    \b
    Examples:
      eqmail config show -n
      eqmail config show --json
    """
    site = require_installation(context)
    control = None if name is None else declaration(name)
    if control is not None and not as_json:
        return _explain(site, control)
    values, found, rows = read_controls(site), {}, []
    for key, control in Controls.declared().items():
        exists = os.path.exists(f"{site.control}/{control.file}")
        if (own and not exists) or name not in (None, control.file):
            continue
        found[control.file] = {"value": json_value(values, key, control), "set": exists}
        rows.append((control.file, display_value(values, key, control), "set" if exists else "default"))
    if as_json:
        print_json("settings-1", installation=site.home, settings=found)
    else:
        print_table((Column("SETTING", fixed=True), "VALUE", Column("ORIGIN", fixed=True)), rows)
    return 0


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@json_option
@click.pass_context
def search(context: click.Context, words: tuple[str, ...], as_json: bool) -> int:
    """Find settings whose name, description or readers have all WORDS; exit 3 if there are none.

    \b
    Examples:
      eqmail config search password
      eqmail config search tls cipher
    """
    values, wanted = read_controls(require_installation(context)), [word.lower() for word in words]
    found = [
        (control.file, display_value(values, key, control), control.manual)
        for key, control in Controls.declared().items()
        if all(word in searched_text(control) for word in wanted)
    ]
    if not found:
        raise EqmailError(f"no setting has {' '.join(words)}", hint=("eqmail", "config", "show"))
    if as_json:
        keys = ("setting", "value", "manual")
        print_json("settings-1", settings=[dict(zip(keys, row, strict=True)) for row in found])
    else:
        print_table((Column("SETTING", fixed=True), "VALUE", "DESCRIPTION"), found)
    return 0


@click.command("diff")
@json_option
@click.pass_context
def diff(context: click.Context, as_json: bool) -> int:
    """Show the settings whose value differs from the default.

    \b
    Examples:
      eqmail config diff
    """
    values = read_controls(require_installation(context))
    defaults = Controls(lambda name: values.read(name) if name == Controls.me.file else None)
    rows = []
    for key, control in Controls.declared().items():
        value, default = display_value(values, key, control), display_value(defaults, key, control)
        if control is not Controls.me and value != default:
            rows.append((control.file, value, default))
    if as_json:
        keys = ("setting", "value", "default")
        print_json("settings-diff-1", settings=[dict(zip(keys, row, strict=True)) for row in rows])
    elif rows:
        print_table((Column("SETTING", fixed=True), "VALUE", "DEFAULT"), rows, f"{len(rows)} settings differ")
    else:
        print_note("all settings have their default")
    return 0


@click.command("explain")
@click.argument("name")
@click.pass_context
def explain(context: click.Context, name: str) -> int:
    """Tell what the setting NAME means, what it is, who reads it and when a change is in force.

    \b
    Examples:
      eqmail config explain virtualdomains
    """
    return _explain(require_installation(context), declaration(name))


@click.command("get")
@click.argument("name")
@click.pass_context
def get(context: click.Context, name: str) -> int:
    """Print the bytes of one control file; exit 3 where it does not exist.

    \b
    Examples:
      eqmail config get rcpthosts
    """
    site = require_installation(context)
    control = declaration(name)
    content = read_file(f"{site.control}/{control.file}")
    if content is None:
        raise EqmailError(
            f"{site.control}/{control.file}: does not exist; the default is in force",
            hint=("eqmail", "config", "show", control.file),
        )
    click.echo(content, nl=False)
    return 0


@click.command("lint")
@json_option
@click.pass_context
def lint(context: click.Context, as_json: bool) -> int:
    """Say what is wrong with the settings; exit 1 if anything is.

    \b
    Examples:
      eqmail config lint
    """
    from eqmail_setup.errors import Severity
    from eqmail_setup.settings.validation import check_settings

    site = require_installation(context)
    problems = check_settings(site)
    if as_json:
        print_json("findings-1", installation=site.home, findings=[_value(problem) for problem in problems])
    else:
        if not problems:
            click.echo(f"{site.control}: no problems found")
        for problem in problems:
            click.echo(
                f"{site.control}/{problem.file}: {problem.found}, {SEVERITY_WORDS[problem.severity]} {problem.expected}"
            )
    return ExitCode.PROBLEMS if any(remark.severity is Severity.ERROR for remark in problems) else 0


def _value(problem: "SettingProblem") -> dict[str, object]:
    return {
        "id": f"settings.{problem.name or problem.file}",
        "severity": problem.severity.value,
        "path": problem.file,
        "message": problem.found,
        "expected": problem.expected,
        "hint": hint_words(("eqmail", "check", "--fix")) if problem.repaired is not None else [],
        "fixable": problem.repaired is not None,
    }


def _explain(site: Site, control: Control[Any]) -> int:
    for line in describe(site, control):
        click.echo(line)
    return 0


VERBS = (show, explain, get, lint, search, diff)
