"""The first control files of an installation, as C's config-fast writes them, and the parts that its config shares.

`me` and the default domain follow the name that is given, every time; all other files are only made where they are
missing, so that whatever an administrator wrote stays.

Fails: OSError.
Source: control-files.md 2.4.
"""

import grp
import os
from collections.abc import Iterator

from eqmail_core.control.declared import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.loading import as_installed
from eqmail_setup.installation.manifest_nodes import Dress
from eqmail_setup.network.hostnames import domains_of
from eqmail_setup.settings.classic_steps import Step
from eqmail_setup.templating import render
from eqmail_setup.transaction.filesystem import World, state_of
from eqmail_setup.transaction.operations import Make, Write

PLUGINS = "bin/plugins"
_SCRIPTS = (
    (Controls.smtpplugins.file, "control/smtpplugins.j2", "Creating empty smtpplugins config file..."),
    (Controls.beforemote.file, "control/beforemote.j2", "Creating config file beforemote..."),
)


def first_settings(site: Site, name: str, world: World) -> list[Step]:
    """What C says, each with what is then to be done; what is as it should be already is only said."""
    domain, plus = domains_of(name)
    return [
        *folder(site.layout.control, world),
        (f"Your fully qualified host name is {name}.", None),
        *putting(site, world, Controls.me, name, always=True),
        *putting(site, world, Controls.defaultdomain, domain, always=True),
        *putting(site, world, Controls.plusdomain, plus),
        *putting(site, world, Controls.locals, name),
        *putting(site, world, Controls.rcpthosts, name),
        (f"Now qmail will refuse to accept SMTP messages except to {name}.", None),
        ("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!", None),
        *scripts(site, world),
    ]


def folder(path: str, world: World) -> Iterator[Step]:
    """A folder that may be missing."""
    if world.look(path) is None:
        yield "", Make(path, "a directory", Dress(*caller(), 0o755))


def putting(
    site: Site, world: World, control: Control[object], text: str, always: bool = False, sentence: str = ""
) -> Iterator[Step]:
    """A text into a control file, where it is missing or `always`; with C's sentence, or another."""
    if always or is_missing(site, world, control):
        line = sentence or f"Putting {text} into {site.layout.control}/{control.file}..."
        yield writing(site, world, control.file, line, os.fsencode(text) + b"\n", Dress(*caller(), 0o644))


def is_missing(site: Site, world: World, control: Control[object]) -> bool:
    """Whether there is no such file."""
    return world.look(f"{site.layout.control}/{control.file}") is None


def scripts(site: Site, world: World) -> Iterator[Step]:
    """The files whose content is always the same, and the folder of the plugins."""
    dress = Dress(caller()[0], _group(site), 0o644)
    for file, template, sentence in _SCRIPTS:
        if world.look(f"{site.layout.control}/{file}") is None:
            content = render(template, home=as_installed(site, site.home))
            yield writing(site, world, file, sentence, content, dress)
    if world.look(PLUGINS) is None:
        yield from folder(os.path.dirname(PLUGINS), world)
        yield "", Make(PLUGINS, "a directory", dress._replace(mode=0o755))


def writing(site: Site, world: World, file: str, sentence: str, content: bytes, dress: Dress) -> Step:
    """A whole control file, with a sentence; only the sentence where it is there as it should be."""
    path = f"{site.layout.control}/{file}"
    state = state_of(path, world)
    if state is not None and state.kind == "a file" and state.content == content and state.dress.mode == dress.mode:
        return sentence, None
    return sentence, Write(path, content, dress)


def _group(site: Site) -> str:
    """The group of the queue, where that is possible; the settings are readable for all anyway."""
    group = site.accounts.groups[0]
    if os.geteuid() != 0 or site.single_user:
        return caller()[1]
    try:
        grp.getgrnam(group)
    except KeyError:
        return caller()[1]
    return group
