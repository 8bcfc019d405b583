"""The installation that a command works on: its home, options, site and staging root, from the command line."""

import os

import click

from eqmail_core.site.layout import DEFAULT_HOME, HOME_VARIABLE
from eqmail_core.site.site import Site
from eqmail_setup.cli import output
from eqmail_setup.errors import not_installed, usage_error
from eqmail_setup.installation.build_config import (
    BuildOption,
    BuildOptions,
    choices_around,
    load_site,
    read_conf_files,
    resolve_build_config,
    resolve_home,
)
from eqmail_setup.installation.detection import detect_installation
from eqmail_setup.installation.loading import LoadedInstallation
from eqmail_setup.installation.staging import staged_site
from eqmail_setup.installation.trust import demand_trusted

STAGE = "eqmail.stage"
"""Where a context keeps the root below which a command stages its changes."""

_NOTED = "eqmail.noted"


def load_or_propose(
    context: click.Context, conf: str | None = None, overrides: dict[str, str] | None = None, root: str = ""
) -> LoadedInstallation:
    """Find the home and make up the site; `chosen` are options that beat the conf-* files."""
    options = read_conf_files(conf) if conf else trusted_choices()
    if options and not conf:
        _note_once(f"what is not given is chosen by {_files_of(options)} in {os.getcwd()}")
    for key, text in (overrides or {}).items():
        options[key] = BuildOption(text, f"--{key}")
    home = chosen_home(context, options)
    if os.path.exists(f"{root}{home}") and not os.path.isdir(f"{root}{home}"):
        raise usage_error(f"{root}{home}: is a file; choose another home with --home DIR")
    before = load_site(home, root) or detect_installation(home, root)
    return LoadedInstallation(resolve_build_config(home, options, before), before, options)


def trusted_choices() -> BuildOptions:
    """The build settings in the current folder if the caller owns it; others are ignored with a note."""
    options, doubt = choices_around()
    if doubt:
        _note_once(f"{_files_of(options)} in {os.getcwd()} not used: {doubt}; --conf and --home say what is meant")
        return {}
    return options


def chosen_home(context: click.Context, options: BuildOptions) -> str:
    """The home as `home_of` finds it; root accepts one not given on the command line only if root owns it.

    Fails: Refusal.
    """
    given = context.find_root().obj
    home = resolve_home(given, options, os.environ)
    output.use_home(home)
    if not given:
        if os.geteuid() == 0 and home != DEFAULT_HOME:
            demand_trusted([home], "what is done there")
        if "home" in options and HOME_VARIABLE.decode() not in os.environ:
            _note_once(f"the home is {home}, by {options['home'].origin} in {os.getcwd()}")
    return home


def _files_of(options: BuildOptions) -> str:
    return ", ".join(dict.fromkeys(os.path.basename(choice.origin.partition(":")[0]) for choice in options.values()))


def _note_once(text: str) -> None:
    noted = click.get_current_context().find_root().meta.setdefault(_NOTED, set())
    if text not in noted:
        noted.add(text)
        output.print_note(text)


def stage_of(context: click.Context) -> str:
    """The root below which a command stages its changes; "" for none."""
    return str(context.find_root().meta.get(STAGE, ""))


def require_installation(context: click.Context) -> Site:
    """The site of an installation that setup has made, below the staging root if one is given.

    Fails: Refusal if there is none.
    """
    stage = stage_of(context)
    return staged_site(_installation(context, stage), stage)


def require_unstaged_installation(context: click.Context) -> Site:
    """The site of an installation that setup has made, whether something is staged or not.

    Fails: Refusal if there is none.
    """
    return _installation(context, "")


def _installation(context: click.Context, stage: str) -> Site:
    home = chosen_home(context, trusted_choices())
    site = load_site(home, stage)
    if site is None:
        raise not_installed(home, stage)
    return site
