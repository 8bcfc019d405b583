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
from eqmail_core.system.files import write_atomically
from eqmail_core.values.site import Site
from eqmail_setup.render import render

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


def write_first_settings(site: Site, name: str, say: Callable[[str], None], only_say: bool = False) -> None:
    """Write the files, saying what C says; with `only_say`, write nothing."""
    domain, plus = domains_of(name)
    folder = site.layout.control
    if not only_say:
        os.makedirs(site.control, mode=0o755, exist_ok=True)
    say(f"Your fully qualified host name is {name}.")
    settings = (
        (Controls.me.file, name, True),
        (Controls.defaultdomain.file, domain, True),
        (Controls.plusdomain.file, plus, False),
        (Controls.locals.file, name, False),
        (Controls.rcpthosts.file, name, False),
    )
    for file, value, always in settings:
        if always or not os.path.exists(f"{site.control}/{file}"):
            say(f"Putting {value} into {folder}/{file}...")
            if not only_say:
                _write(site, file, os.fsencode(value) + b"\n")
    say(f"Now qmail will refuse to accept SMTP messages except to {name}.")
    say("Make sure to change rcpthosts if you add hosts to locals or virtualdomains!")
    for file, template, sentence in _SCRIPTS:
        if not os.path.exists(f"{site.control}/{file}"):
            say(sentence)
            if not only_say:
                _write(site, file, render(template, home=site.home))
                _give_to_group(site, f"{site.control}/{file}")
    if not only_say:
        _make_plugin_folder(site)


def _make_plugin_folder(site: Site) -> None:
    path = f"{site.home}/{PLUGINS}"
    if not os.path.isdir(path):
        os.makedirs(path, mode=0o755)
        _give_to_group(site, path)


def _write(site: Site, file: str, content: bytes) -> None:
    path = f"{site.control}/{file}"
    write_atomically(path, content, 0o644)
    os.chmod(path, 0o644)


def _give_to_group(site: Site, path: str) -> None:
    """Let the group of the queue own it, where that is possible; the settings are readable for all anyway."""
    if os.geteuid() != 0 or site.single_user:
        return
    try:
        os.chown(path, -1, grp.getgrnam(site.accounts.groups[0]).gr_gid)
    except KeyError:
        return
