"""Commands that run by themselves: by a timer of systemd where that is the init, else by a file for cron.

Fails: EqmailError where there is neither.
"""

import os
import shlex
import subprocess
import sys
from typing import NamedTuple
from zlib import crc32

from eqmail_core.site.site import Site
from eqmail_core.system.files import write_atomically
from eqmail_setup.errors import EqmailError
from eqmail_setup.templating import render

SYSTEMD_RUNS = "/run/systemd/system"
UNITS = "/etc/systemd/system"
CRON = "/etc/cron.d"


class PeriodicJob(NamedTuple):
    """A command of `eqmail`, its words, and when it runs: twice a day, or in the hour after midnight UTC."""

    name: str
    words: tuple[str, ...]
    purpose: str
    is_daily: bool


RENEWAL = PeriodicJob("eqmail-cert", ("cert", "renew"), "Renew the certificate of the mail server", False)
DMARC_REPORTS = PeriodicJob("eqmail-dmarc", ("dmarc", "reports", "send"), "Send aggregate reports of DMARC", True)


def job_files(site: Site, job: PeriodicJob) -> dict[str, bytes]:
    """Return path and content of each file.  The minute differs from host to host, and stays on one."""
    command = f"{shlex.quote(sys.executable)} -m eqmail_setup --home {shlex.quote(site.home)} {shlex.join(job.words)}"
    moment = crc32(f"{os.uname().nodename} {site.home}".encode())
    values = {"command": command, "minute": moment % 60, "hour": moment // 60 % 12, "job": job}
    if os.path.isdir(SYSTEMD_RUNS):
        return {
            f"{UNITS}/{job.name}.service": render("periodic/service.j2", **values),
            f"{UNITS}/{job.name}.timer": render("periodic/timer.j2", **values),
        }
    if os.path.isdir(CRON):
        return {f"{CRON}/{job.name}": render("periodic/cron.j2", **values)}
    raise EqmailError(f"neither systemd nor {CRON} is here; have this run regularly: {command}")


def install_jobs(files: dict[str, bytes], job: PeriodicJob) -> None:
    """Write the files, and start the timer."""
    for path, content in files.items():
        try:
            write_atomically(path, content)
        except OSError as error:
            raise EqmailError(f"{path}: {error.strerror}") from error
    if any(path.endswith(".timer") for path in files):
        for words in (["daemon-reload"], ["enable", "--now", f"{job.name}.timer"]):
            done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False)
            if done.returncode:
                raise EqmailError(f"systemctl {' '.join(words)}: {done.stderr.strip()}")
