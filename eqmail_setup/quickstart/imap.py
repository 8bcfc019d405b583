"""Dovecot beside a new server, by which people read their mail: its configuration, and its start.

Fails: EqmailError.
"""

import shutil
import subprocess
import tempfile

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.mail import dovecot
from eqmail_setup.mail.mailboxes import dovecot_lines
from eqmail_setup.services.deployments import NONE
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change

SERVERS = ("dovecot",)
"""What `--imap` takes."""

TIMEOUT_S = 60
_RESTART = {
    "systemd": ("systemctl", "restart", "dovecot"),
    "openrc": ("rc-service", "dovecot", "restart"),
    "sysv": ("service", "dovecot", "restart"),
    "xinetd": ("service", "dovecot", "restart"),
}
_START, _RELOAD = ("dovecot",), ("doveadm", "reload")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"


def require_imap(name: str, deployment: str) -> None:
    """Refuse a server that is not known, not installed, or has another syntax."""
    if name not in SERVERS:
        raise usage_error(f"--imap {name}: there is {', '.join(SERVERS)}")
    if deployment == NONE:
        raise usage_error("--imap needs services that run; write its configuration with eqmail gen-dovecot")
    dovecot.require_supported(dovecot.installed_version())


def plan_imap(site: Site, filesystem: Filesystem, maildir: str) -> list[Change]:
    """The configuration and the list of mailboxes; another configuration is kept beside it.

    `maildir`: that of accounts, "" if the settings have it already.
    """
    return [
        *dovecot.plan_users(site, filesystem, dovecot_lines(site, filesystem)),
        *dovecot.plan_config(site, filesystem, dovecot.CONFIG, "*, ::", True, maildir),
    ]


def restart_command(deployment: str, is_running: bool) -> tuple[str, ...]:
    """The command after which Dovecot runs with its new configuration."""
    return _RESTART.get(deployment, _RELOAD if is_running else _START)


def restart_imap(deployment: str) -> tuple[str, ...]:
    """Start Dovecot, or restart it; the command.  Fails: EqmailError with what it said."""
    is_running = _run(("doveadm", "process", "status")) == ""
    command = restart_command(deployment, is_running)
    said = _run(command)
    if said:
        raise EqmailError(f"dovecot: {said}; the mail server runs without it", hint=command)
    return command


def _run(command: tuple[str, ...]) -> str:
    """Run a command; "" for success, else what it said last."""
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        return f"{command[0]}: not installed"
    # Into a file: the server keeps a pipe open for as long as it runs.
    with tempfile.TemporaryFile() as output:
        try:
            code = subprocess.call(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=output,
                timeout=TIMEOUT_S,
                env={"PATH": _PATH},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        output.seek(0)
        lines = output.read().decode("utf-8", "replace").strip().splitlines()
    return (lines[-1] if lines else f"exit code {code}") if code else ""
