"""How commands get a password: from the terminal, from standard input, or as a hash; never as a word of the command.

Fails: EqmailError (usage) where none can be had.
"""

import sys
from collections.abc import Callable
from typing import Any

import click

from eqmail_core.control.controls import Controls
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import print_note
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.mail.credentials import SCHEMES, hashed, require_valid_secret

_MAX_PASSWORD = 4096
_TRIES = 3


def password_options(function: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a password; it gets `asks`, `stdin` and `hash`."""
    for option in (
        click.option("--hash", metavar="STRING", default="", help="Store this password hash, such as $y$..."),
        click.option("--stdin", is_flag=True, help="Read the password from standard input, one line."),
        click.option("--password", "asks", is_flag=True, help="Ask for a password."),
    ):
        function = option(function)
    return function


def secret_from(login: str, asks: bool, stdin: bool, hash: str, scheme: str = next(iter(SCHEMES))) -> bytes:
    """The secret to store for a login; empty where no option asks for one."""
    if sum(map(bool, (asks, stdin, hash))) > 1:
        raise usage_error("--password, --stdin and --hash exclude each other")
    if hash:
        secret = hash.encode("utf-8", "surrogateescape")
        require_valid_secret(secret)
        return secret
    if not (asks or stdin):
        return b""
    return hashed(read_password(login, stdin), scheme)


def read_password(login: str, stdin: bool, confirm: bool = True) -> bytes:
    """A password from standard input, or from the terminal; two that differ are asked for again, three times in all."""
    if stdin:
        return sys.stdin.buffer.readline(_MAX_PASSWORD).rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise usage_error("no terminal to ask for a password; use --stdin or --hash")
    for _ in range(_TRIES):
        first = _ask(f"Password of {login}")
        if first and (not confirm or _ask("Repeat the password") == first):
            return first.encode()
        click.echo("Passwords are empty or differ." if confirm else "Passwords are not empty.", err=True)
    raise EqmailError(f"no password after {_TRIES} tries")


def note_checker(site: Site, change: ChangeOptions) -> None:
    """Name what is missing before a password can be used."""
    if change.as_json or change.preview_only or read_controls(site).smtpcheckpw:
        return
    name = Controls.smtpcheckpw.file
    command = ("eqmail", "config", "set", name, f"{site.bin}/qmail-chkpw true", "--reload")
    print_note(f"the resident SMTP service offers no login: {name} is not set", command)


def _ask(prompt: str) -> str:
    value: Any = click.prompt(prompt, hide_input=True, default="", show_default=False, err=True)
    return str(value)
