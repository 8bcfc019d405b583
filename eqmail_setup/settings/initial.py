"""The first control files of an installation, as C's config-fast writes them, and the parts that its config shares.

`me` and the default domain follow the name that is given, every time; all other files are only made where they are
missing, so that whatever an administrator wrote stays.

Fails: OSError.
Source: control-files.md 2.4.
"""

import grp
import os
from collections.abc import Iterator

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control
from eqmail_core.site.site import Site
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest_nodes import PathKind, Permissions
from eqmail_setup.installation.staging import final_path
from eqmail_setup.network.hostnames import domains_of
from eqmail_setup.settings.classic_steps import ClassicStep
from eqmail_setup.templating import render
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import CreateNode, WriteFile

PLUGINS = "bin/plugins"
_SCRIPTS = (
    (Controls.smtpplugins.file, "control/smtpplugins.j2", "Creating empty smtpplugins config file..."),
    (Controls.beforemote.file, "control/beforemote.j2", "Creating config file beforemote..."),
)


def plan_initial_settings(site: Site, name: str, filesystem: Filesystem) -> list[ClassicStep]:
    """The lines of C, each with its action; what is correct already has a line only."""
    domain, plus = domains_of(name)
    return [
        *folder(site.layout.control, filesystem),
        (f"Your fully qualified host name is {name}.", None),
        *plan_initial_value(site, filesystem, Controls.me, name, always=True),
        *plan_initial_value(site, filesystem, Controls.defaultdomain, domain, always=True),
        *plan_initial_value(site, filesystem, Controls.plusdomain, plus),
        *plan_initial_value(site, filesystem, Controls.locals, name),
        *plan_initial_value(site, filesystem, Controls.rcpthosts, name),
        (f"Now qmail will refuse to accept SMTP messages except to {name}.", None),
        ("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!", None),
        *scripts(site, filesystem),
    ]


def folder(path: str, filesystem: Filesystem) -> Iterator[ClassicStep]:
    """A folder that may be missing."""
    if filesystem.stat(path) is None:
        yield "", CreateNode(path, PathKind.DIRECTORY, Permissions(*caller(), 0o755))


def plan_initial_value(
    site: Site, filesystem: Filesystem, control: Control[object], text: str, always: bool = False, sentence: str = ""
) -> Iterator[ClassicStep]:
    """A text into a control file, where it is missing or `always`; with C's sentence, or another."""
    if always or is_missing(site, filesystem, control):
        line = sentence or f"Putting {text} into {site.layout.control}/{control.file}..."
        yield plan_initial_file(
            site, filesystem, control.file, line, os.fsencode(text) + b"\n", Permissions(*caller(), 0o644)
        )


def is_missing(site: Site, filesystem: Filesystem, control: Control[object]) -> bool:
    """Whether there is no such file."""
    return filesystem.stat(f"{site.layout.control}/{control.file}") is None


def scripts(site: Site, filesystem: Filesystem) -> Iterator[ClassicStep]:
    """The files whose content is always the same, and the folder of the plugins."""
    permissions = Permissions(caller()[0], _group(site), 0o644)
    for file, template, sentence in _SCRIPTS:
        if filesystem.stat(f"{site.layout.control}/{file}") is None:
            content = render(template, home=final_path(site, site.home))
            yield plan_initial_file(site, filesystem, file, sentence, content, permissions)
    if filesystem.stat(PLUGINS) is None:
        yield from folder(os.path.dirname(PLUGINS), filesystem)
        yield "", CreateNode(PLUGINS, PathKind.DIRECTORY, permissions._replace(mode=0o755))


def plan_initial_file(
    site: Site, filesystem: Filesystem, file: str, sentence: str, content: bytes, permissions: Permissions
) -> ClassicStep:
    """A whole control file with its line of output; only the line if the file is correct already."""
    path = f"{site.layout.control}/{file}"
    state = snapshot(path, filesystem)
    if (
        state is not None
        and state.kind == PathKind.FILE
        and state.content == content
        and state.permissions.mode == permissions.mode
    ):
        return sentence, None
    return sentence, WriteFile(path, content, permissions)


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
