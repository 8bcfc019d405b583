"""`eqmail auth`: who may log in to send and fetch mail (users/smtpauth)."""

import os

import click

from eqmail_core.auth.secrets_file import FILE
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, json_option, staged_change_options
from eqmail_setup.cli.output import echo, print_json, print_rows
from eqmail_setup.cli.passwords import note_checker, password_options, read_password, secret_from
from eqmail_setup.errors import EqmailError, ExitCode, permission_required
from eqmail_setup.mail.credentials import SCHEMES


@click.group("auth")
def command() -> None:
    """Manage the credentials for sending mail by SMTP and for fetching it (users/smtpauth).

    \b
    Examples:
      eqmail auth set ann@example.net
      eqmail auth list
      eqmail auth test ann@example.net
    """


@command.command("list")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List the logins and how each secret is stored.

    \b
    Examples:
      eqmail auth list --json
    """
    from eqmail_setup.mail.credentials import credentials_in
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    found = credentials_in(site, DiskFilesystem(site.home))
    hint = ("eqmail", "auth", "set", "LOGIN")
    print_rows(("LOGIN", "STORED AS"), found, lambda row: row, as_json, "credentials", "no credentials", hint)
    return 0


@command.command("set")
@click.argument("login")
@password_options
@click.option(
    "--scheme",
    type=click.Choice(tuple(SCHEMES)),
    default=next(iter(SCHEMES)),
    show_default=True,
    help="How it is stored.",
)
@staged_change_options
@click.pass_context
def set_(
    context: click.Context, change: ChangeOptions, login: str, asks: bool, stdin: bool, hash: str, scheme: str
) -> int:
    """Set the password of LOGIN; without an option it is asked for.

    Clear text (--scheme clear) is needed for CRAM-MD5 and APOP only; whoever reads the file knows it then.

    \b
    Examples:
      eqmail auth set ann@example.net
      eqmail auth set ann@example.net --stdin < secret
    """
    from eqmail_setup.mail.credentials import plan_set_credential

    site = require_installation(context)
    secret = secret_from(login, asks or not (stdin or hash), stdin, hash, scheme)
    execute(context, site, change, lambda filesystem: plan_set_credential(site, filesystem, login, secret))
    note_checker(site, change)
    return 0


@command.command("remove")
@click.argument("login")
@staged_change_options
@click.pass_context
def remove(context: click.Context, change: ChangeOptions, login: str) -> int:
    """Remove LOGIN, which then cannot log in any more.

    \b
    Examples:
      eqmail auth remove ann@example.net
    """
    from eqmail_setup.mail.credentials import plan_remove

    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan_remove(site, filesystem, login))
    return 0


@command.command("test")
@click.argument("login")
@click.option("--stdin", is_flag=True, help="Read the password from standard input, one line.")
@json_option
@click.pass_context
def test(context: click.Context, login: str, stdin: bool, as_json: bool) -> int:
    """Check a password of LOGIN with the program that the SMTP server uses; exit 1 if it is refused.

    \b
    Examples:
      eqmail auth test ann@example.net
      eqmail auth test ann@example.net --stdin < secret
    """
    from eqmail_core.auth.checkpassword import ACCEPTED, REFUSED
    from eqmail_core.system.installation import read_controls

    site = require_installation(context)
    checker = (read_controls(site).smtpcheckpw or b"").split() or [os.fsencode(f"{site.bin}/qmail-chkpw"), b"true"]
    if os.fsdecode(checker[0]) == f"{site.bin}/qmail-chkpw":
        _require_readable(f"{site.users}/{FILE}")
    password = read_password(login, stdin, confirm=False)
    code = _ask_checker(checker, login.encode("utf-8", "surrogateescape"), password, site.home)
    words = {ACCEPTED: "accepted", REFUSED: "refused"}.get(code, f"not checked: exit code {code}")
    if as_json:
        print_json("auth-test-1", login=login, checker=[os.fsdecode(word) for word in checker], result=words)
    else:
        echo(f"{login}: {words} by {os.fsdecode(checker[0])}")
    return ExitCode.OK if code == ACCEPTED else ExitCode.PROBLEMS if code == REFUSED else ExitCode.FAILED


def _require_readable(path: str) -> None:
    """Refuse where the checker could not read the secrets, since it runs as the caller.  Fails: EqmailError."""
    if os.path.exists(path) and not os.access(path, os.R_OK):
        raise permission_required(f"{path}: readable for the SMTP service and root only")


def _ask_checker(checker: list[bytes], login: bytes, password: bytes, home: str) -> int:
    """The exit code of a checkpassword program for this login and password.  Fails: EqmailError."""
    from eqmail_core.auth.checkpassword_process import checker_outcome, start_checker
    from eqmail_core.auth.credentials import PLAIN, Credentials

    pid = start_checker(checker, os.environb, Credentials(PLAIN, login, password))
    if pid < 0:
        raise EqmailError(f"{os.fsdecode(checker[0])}: cannot be run")
    return checker_outcome(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
