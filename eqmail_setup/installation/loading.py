"""What every command begins with: the home, the choices, the site and the lock, from the command line."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import click

from eqmail_core.site.layout import DEFAULT_HOME, HOME_VARIABLE
from eqmail_core.site.site import Site
from eqmail_core.site.site_file import SITE_FILE
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.accounts import missing_accounts
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
from eqmail_setup.installation.trust import demand_trusted

# A Unix socket's address has 108 bytes on Linux and 104 elsewhere; the longest one of ours is run/remote-99.sock.
MAX_HOME_LENGTH = 104 - len("/run/remote-99.sock") - 1


class LoadedInstallation(NamedTuple):
    """An installation and what is now chosen for it; `before` is what it was, None where there was none."""

    site: Site
    before: Site | None
    options: BuildOptions


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
        raise EqmailError(f"{root}{home}: is a file; choose another home with --home DIR", 2)
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
        click.echo(f"eqmail: note: {text}", err=True)


_NOTED = "eqmail.noted"

STAGE = "eqmail.stage"
"""Where a context keeps the root below which a command stages its changes."""


class StagedSite(Site):
    """A site below a staging root: its home is where its files are now, not where they will be."""

    __slots__ = ("stage",)
    stage: str


def in_stage(site: Site, stage: str) -> Site:
    """The same site below a staging root; unchanged if the root is ""."""
    if not stage:
        return site
    made = StagedSite(**_options_of(site) | {"home": stage + site.home})
    made.stage = stage
    return made


def final_path(site: Site, path: str) -> str:
    """A path as it will be once what is staged is in its place."""
    return path.removeprefix(site.stage) if isinstance(site, StagedSite) else path


def final_site(site: Site) -> Site:
    """The site as it will be once what is staged is in its place."""
    return Site(**_options_of(site) | {"home": final_path(site, site.home)})


def path_on_disk(site: Site) -> Site:
    """The site with the owners that its files have now: below a staging root everything belongs to the caller."""
    return Site(**_options_of(site) | {"single_user": site.single_user or isinstance(site, StagedSite)})


def _options_of(site: Site) -> dict[str, Any]:
    return {name: getattr(site, name) for name in Site.__slots__}


def stage_of(context: click.Context) -> str:
    """The root below which a command stages its changes; "" for none."""
    return str(context.find_root().meta.get(STAGE, ""))


def require_installation(context: click.Context) -> Site:
    """The site of an installation that setup has made, below the staging root if one is given.

    Fails: Refusal if there is none.
    """
    stage = stage_of(context)
    return in_stage(_installation(context, stage), stage)


def require_unstaged_installation(context: click.Context) -> Site:
    """The site of an installation that setup has made, whether something is staged or not.

    Fails: Refusal if there is none.
    """
    return _installation(context, "")


def _installation(context: click.Context, stage: str) -> Site:
    home = chosen_home(context, trusted_choices())
    site = load_site(home, stage)
    if site is None:
        more = f" --root {stage}" if stage else ""
        raise EqmailError(f"{stage}{home}: no installation here; run: eqmail --home {home} setup{more}")
    return site


def require_accounts(site: Site) -> None:
    """Refuse to go on without the accounts of an installation.

    Fails: Refusal with the names that are missing.
    """
    missing = [] if site.single_user else missing_accounts(site.accounts)
    if missing:
        remedy = "create them with: eqmail mkusers (in a checkout: make users)"
        raise EqmailError(f"these accounts do not exist: {', '.join(missing)}; {remedy}")


def demand_own(site: Site) -> None:
    """Refuse an installation whose programs, or the choice of its accounts, others could replace.

    Fails: Refusal.
    """
    demand_trusted([site.home, f"{site.home}/{SITE_FILE}", site.bin], "the programs that run there")


def require_short_path(home: str) -> None:
    """Refuse a home whose socket paths are too long to connect to.

    Fails: Refusal (wrong usage).
    """
    length = len(os.fsencode(home))
    if length > MAX_HOME_LENGTH:
        raise EqmailError(
            f"{home}: {length} bytes are too long for the sockets in it; choose at most {MAX_HOME_LENGTH}", 2
        )


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of one installation.

    Fails: Refusal when another command holds it.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise EqmailError(
                f"another eqmail command works on this installation ({path} is locked); try later"
            ) from None
        yield
    finally:
        os.close(fd)
