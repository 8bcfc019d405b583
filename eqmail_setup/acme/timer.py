"""What runs `eqmail cert renew` twice a day: a timer of systemd where that is the init, else a file for cron.

Fails: EqmailError where there is neither.
"""

import os
import shlex
import subprocess
import sys
from zlib import crc32

from eqmail_core.site.site import Site
from eqmail_core.system.files import write_atomically
from eqmail_setup.errors import EqmailError
from eqmail_setup.templating import render

SYSTEMD_RUNS = "/run/systemd/system"
UNITS = "/etc/systemd/system"
CRON = "/etc/cron.d"
NAME = "eqmail-cert"


def timer_files(site: Site) -> dict[str, bytes]:
    """Return path and content of each file.  The minute differs from host to host, and stays on one."""
    command = f"{shlex.quote(sys.executable)} -m eqmail_setup --home {shlex.quote(site.home)} cert renew"
    moment = crc32(f"{os.uname().nodename} {site.home}".encode())
    values = {"command": command, "minute": moment % 60, "hour": moment // 60 % 12}
    if os.path.isdir(SYSTEMD_RUNS):
        return {
            f"{UNITS}/{NAME}.service": render("acme/service.j2", **values),
            f"{UNITS}/{NAME}.timer": render("acme/timer.j2", **values),
        }
    if os.path.isdir(CRON):
        return {f"{CRON}/{NAME}": render("acme/cron.j2", **values)}
    raise EqmailError(f"neither systemd nor {CRON} is here; have this run twice a day: {command}")


def install_timer(files: dict[str, bytes]) -> None:
    """Write the files, and start the timer."""
    for path, content in files.items():
        try:
            write_atomically(path, content)
        except OSError as error:
            raise EqmailError(f"{path}: {error.strerror}") from error
    if any(path.endswith(".timer") for path in files):
        for words in (["daemon-reload"], ["enable", "--now", f"{NAME}.timer"]):
            done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise EqmailError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
