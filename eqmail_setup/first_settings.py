"""The first control files of an installation, as C's config-fast writes them.

`me` and the default domain follow the name that is given, every time; all other files are only made where they are
missing, so that whatever an administrator wrote stays.

Fails: OSError.
Source: control-files.md 2.4.
"""

import grp
import os
import socket
from collections.abc import Callable

from eqmail_core.control.declared import Controls
from eqmail_core.values.site import Site
from eqmail_setup.actions import Action, Make, Write
from eqmail_setup.disk_world import RealWorld
from eqmail_setup.opened import as_installed
from eqmail_setup.render import render
from eqmail_setup.tree import Dress
from eqmail_setup.who import caller
from eqmail_setup.world import World, state_of

PLUGINS = "bin/plugins"
_SCRIPTS = (
    (Controls.smtpplugins.file, "control/smtpplugins.j2", "Creating empty smtpplugins config file..."),
    (Controls.beforemote.file, "control/beforemote.j2", "Creating config file beforemote..."),
)


def host_name_of(host: str) -> str:
    """The canonical name of this host, as `hostname -f` tells it; the bare name where nothing knows more."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_CANONNAME)
    except OSError:
        return host
    return found[0][3] or host


def domains_of(name: str) -> tuple[str, str]:
    """The default domain (without the first label) and the plus domain (the last two labels) of a host name."""
    labels = name.split(".")
    if len(labels) < 3:
        return name, name
    return ".".join(labels[1:]), ".".join(labels[-2:])


Step = tuple[str, Action | None]


def write_first_settings(site: Site, name: str, say: Callable[[str], None], only_say: bool = False) -> None:
    """Write the files, saying what C says; with `only_say`, write nothing."""
    if not only_say:
        os.makedirs(site.control, mode=0o755, exist_ok=True)
    world = RealWorld(site.home)
    for line, action in first_settings(site, name, world):
        if line:
            say(line)
        if action and not only_say:
            action.perform(world)
    if not only_say:
        world.finish()


def first_settings(site: Site, name: str, world: World) -> list[Step]:
    """What C says, each with what is then to be done; what is as it should be already is only said."""
    domain, plus = domains_of(name)
    steps: list[Step] = [(f"Your fully qualified host name is {name}.", None)]
    settings = (
        (Controls.me.file, name, True),
        (Controls.defaultdomain.file, domain, True),
        (Controls.plusdomain.file, plus, False),
        (Controls.locals.file, name, False),
        (Controls.rcpthosts.file, name, False),
    )
    for file, value, always in settings:
        if always or not os.path.exists(f"{site.control}/{file}"):
            line = f"Putting {value} into {site.layout.control}/{file}..."
            steps.append((line, _writing(site, world, file, os.fsencode(value) + b"\n", Dress(*caller(), 0o644))))
    steps.append((f"Now qmail will refuse to accept SMTP messages except to {name}.", None))
    steps.append(("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!", None))
    for file, template, sentence in _SCRIPTS:
        if not os.path.exists(f"{site.control}/{file}"):
            content = render(template, home=as_installed(site, site.home))
            steps.append((sentence, _writing(site, world, file, content, Dress(caller()[0], _group(site), 0o644))))
    if not os.path.isdir(f"{site.home}/{PLUGINS}"):
        parent, dress = os.path.dirname(PLUGINS), Dress(caller()[0], _group(site), 0o755)
        if not os.path.isdir(f"{site.home}/{parent}"):
            steps.append(("", Make(parent, "a directory", Dress(*caller(), 0o755))))
        steps.append(("", Make(PLUGINS, "a directory", dress)))
    return steps


def _writing(site: Site, world: World, file: str, content: bytes, dress: Dress) -> Action | None:
    path = f"{site.layout.control}/{file}"
    state = state_of(path, world)
    if state is not None and state.kind == "a file" and state.content == content and state.dress.mode == dress.mode:
        return None
    return Write(path, content, dress)


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
