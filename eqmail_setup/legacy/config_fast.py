"""config-fast [FQDN]: write the first control files, for the host FQDN or for the name of this host.

What C's does, byte for byte, and it takes every name; `eqmail config-fast` is the careful one.

Exits: 0, 111.  Source: control-files.md 2.4 (config-fast.sh).
"""

import os
import shlex
import socket
from collections.abc import Mapping, Sequence

from eqmail_core.system.installation import read_site
from eqmail_setup.legacy.console import run_to_exit_code, write_line
from eqmail_setup.network.hostnames import host_name_of
from eqmail_setup.settings.classic_steps import run_steps
from eqmail_setup.settings.initial import plan_initial_settings


def main(argv: Sequence[bytes], environ: Mapping[bytes, bytes]) -> int:
    """Write them."""
    site = read_site(environ)
    words = [os.fsdecode(word) for word in argv[1:]]
    name = words[0] if words else host_name_of(socket.gethostname())
    command = shlex.join(["config-fast", *words])
    return run_to_exit_code(
        "config-fast",
        lambda: run_steps(site, command, lambda world: plan_initial_settings(site, name, world), write_line),
    )
