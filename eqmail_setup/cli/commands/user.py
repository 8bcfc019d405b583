"""`eqmail user`: who gets mail under which name, with or without an account."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.users.database import assign_path
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, RenamedOption, json_option, staged_change_options
from eqmail_setup.cli.output import print_rows
from eqmail_setup.cli.progress import on_terminal, progress
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.mail import credentials as smtp_logins
from eqmail_setup.mail import users as mail_users
from eqmail_setup.mail.assign_file import AssignEntry, read_assignments
from eqmail_setup.mail.credentials import SCHEMES
from eqmail_setup.mail.users import entry_for
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change
from eqmail_setup.transaction.progress import ProgressCallback, no_progress

_WORTH_A_BAR = 1 << 20
PASSWD = "/etc/passwd"
_LONGEST_PASSWORD = 4096


@click.group("user")
def command() -> None:
    """Manage who gets mail under which name (users/assign and the database made of it).

    Users without an entry receive mail by their account. Who may log in to the SMTP server is kept apart
    from that, in users/smtpauth: passwd.

    \b
    Examples:
      eqmail user add foo --ids 65534:65533
      eqmail user list
      eqmail user passwd joe
      eqmail user compile
    """


@command.command("add")
@click.argument("local")
@click.option("--ids", metavar="UID:GID", default="", help="Numbers to deliver as; else those of the account.")
@click.option(
    "--home-dir",
    "home",
    cls=RenamedOption,
    former=["--home-of-user"],
    metavar="DIR",
    default="",
    help="Home; default: that of the account, or users/LOCAL.",
)
@click.option(
    "--user-name",
    "user",
    cls=RenamedOption,
    former=["--as"],
    metavar="NAME",
    default="",
    help="User name that programs see; default: LOCAL.",
)
@click.option("--maildir", metavar="NAME", default="", help="Maildir in the home; else that of defaultdelivery.")
@click.option("--no-maildir", is_flag=True, help="Make no home, no Maildir and no .qmail file.")
@click.option("--no-extensions", is_flag=True, help="No mail for LOCAL+anything.")
@click.option("--replace", is_flag=True, help="Also where there is another entry for LOCAL.")
@staged_change_options
@click.pass_context
def add(
    context: click.Context,
    local: str,
    ids: str,
    home: str,
    user: str,
    maildir: str,
    no_maildir: bool,
    no_extensions: bool,
    replace: bool,
    change: ChangeOptions,
) -> int:
    """Give mail for LOCAL to a user, who need not have an account; make the home and a Maildir where missing.

    \b
    Examples:
      eqmail user add foo --ids 65534:65533
      eqmail user add joe --maildir Maildir
      eqmail user add joe.doe --user-name joe --ids 1001:1001 --home-dir /home/joe --no-maildir
    """
    site = require_installation(context)
    entry = entry_for(site, local, ids, home, user)
    return _compiling(
        context,
        site,
        change,
        lambda world, watch: mail_users.plan_add(
            site, world, entry, maildir, not no_maildir, not no_extensions, replace, watch
        ),
    )


@command.command("remove")
@click.argument("local")
@click.option("--discard-mail", is_flag=True, help="Also remove the Maildir in the home, for good.")
@staged_change_options
@click.pass_context
def remove(context: click.Context, local: str, discard_mail: bool, change: ChangeOptions) -> int:
    """Remove the entries of LOCAL; the mail stays where it is.

    \b
    Examples:
      eqmail user remove foo --dry-run
      eqmail user remove foo --discard-mail
    """
    site = require_installation(context)
    return _compiling(
        context, site, change, lambda world, watch: mail_users.plan_remove(site, world, local, discard_mail, watch)
    )


@command.command("passwd")
@click.argument("login")
@click.option("--stdin", is_flag=True, help="Read the password from standard input, one line; without it, ask.")
@click.option("--hash", metavar="STRING", default="", help="Keep this crypt string, such as $y$... or $argon2id$...")
@click.option("--scheme", type=click.Choice(tuple(SCHEMES)), default=next(iter(SCHEMES)), help="How it is kept.")
@click.option("--remove", "removes", is_flag=True, help="LOGIN may no longer log in.")
@staged_change_options
@click.pass_context
def passwd(
    context: click.Context, login: str, stdin: bool, hash: str, scheme: str, removes: bool, change: ChangeOptions
) -> int:
    """Set the password with which LOGIN may send mail by SMTP (users/smtpauth, see qmail-chkpw).

    With --scheme scram-sha-256 the login may prove itself by SCRAM-SHA-256, which never sends the password, and by
    PLAIN and LOGIN. A password in clear text is needed for CRAM-MD5 and APOP alone; who reads the file knows it then.

    \b
    Examples:
      eqmail user passwd joe
      eqmail user passwd joe@example.org --stdin < secret
      eqmail user passwd joe --hash '$argon2id$v=19$m=65536,t=3,p=4$...'
      eqmail user passwd joe --remove
    """
    site = require_installation(context)
    if sum(map(bool, (stdin, hash, removes))) > 1:
        raise usage_error("--stdin, --hash and --remove exclude each other")
    if removes:
        execute(context, site, change, lambda world: smtp_logins.plan_remove(site, world, login))
        return 0
    if hash:
        secret = hash.encode("utf-8", "surrogateescape")
        smtp_logins.require_valid_secret(secret)
    else:
        secret = smtp_logins.hashed(_password(login, stdin), scheme)
    execute(context, site, change, lambda world: smtp_logins.plan_set_credential(site, world, login, secret))
    return 0


def _password(login: str, stdin: bool) -> bytes:
    if stdin:
        return sys.stdin.buffer.readline(_LONGEST_PASSWORD).rstrip(b"\r\n")
    if not sys.stdin.isatty():
        raise usage_error("no terminal to ask for a password; use --stdin or --hash")
    return str(click.prompt(f"Password of {login}", hide_input=True, confirmation_prompt=True, err=True)).encode()


@command.command("list")
@click.option("--smtp-auth", is_flag=True, help="Those who may log in to the SMTP server, instead.")
@json_option
@click.pass_context
def list_(context: click.Context, smtp_auth: bool, as_json: bool) -> int:
    """List the entries of users/assign.

    \b
    Examples:
      eqmail user list --json
      eqmail user list --smtp-auth
    """
    site = require_installation(context)
    if smtp_auth:
        logins = smtp_logins.credentials_in(site, DiskFilesystem(site.home))
        hint = ("eqmail", "user", "passwd", "LOGIN")
        print_rows(
            logins, as_json, lambda row: f"{row.login}: {row.method}", "no SMTP credentials", "credentials", hint
        )
        return 0
    print_rows(
        read_assignments(assign_path(site)).entries(),
        as_json,
        _line,
        "no entries; system accounts receive mail without one",
        "users",
    )
    return 0


@command.command("show")
@click.argument("local")
@json_option
@click.pass_context
def show(context: click.Context, local: str, as_json: bool) -> int:
    """Show the entries of LOCAL and of its extensions.

    \b
    Examples:
      eqmail user show foo
    """
    site = require_installation(context)
    names = {local.lower(), local.lower() + os.fsdecode(site.break_char)}
    entries = [
        entry for entry in read_assignments(assign_path(site)).entries() if entry.local and entry.local.lower() in names
    ]
    if not entries:
        raise EqmailError(f"user {local}: not found in {assign_path(site)}", hint=("eqmail", "explain", local))
    print_rows(entries, as_json, _line, schema="users")
    return 0


@command.command("import-passwd")
@click.argument("file", required=False)
@click.option("--replace", is_flag=True, help="Also where there are other entries for the same names.")
@staged_change_options
@click.pass_context
def import_passwd(context: click.Context, file: str | None, replace: bool, change: ChangeOptions) -> int:
    """Make an entry for every account of FILE (/etc/passwd when left out) that owns its home.

    users/include, exclude, mailnames, subusers and append work as in qmail-pw2u. Entries of other names stay.

    \b
    Examples:
      eqmail user import-passwd --diff
      eqmail user import-passwd accounts.txt --replace
    """
    site = require_installation(context)
    content = read_file(file or PASSWD)
    if content is None:
        raise EqmailError(f"{file}: does not exist")
    lines = content.splitlines()
    return _compiling(
        context, site, change, lambda world, watch: mail_users.plan_import(site, world, lines, replace, watch)
    )


@command.command("compile")
@staged_change_options
@click.pass_context
def compile_(context: click.Context, change: ChangeOptions) -> int:
    """Make users/cdb of users/assign, as qmail-newu does; look-ups see the old or the new one, never a part.

    \b
    Examples:
      eqmail user compile
    """
    site = require_installation(context)
    return _compiling(context, site, change, lambda world, watch: mail_users.plan_compile(site, world, watch))


def _line(entry: AssignEntry) -> str:
    name = f"{entry.local}*" if entry.wildcard else entry.local
    files = f".qmail{entry.dash}{entry.ext}{'*' if entry.wildcard else ''}"
    return f"{name}: {entry.user} ({entry.uid}:{entry.gid}) in {entry.home}, {files}"


def _compiling(
    context: click.Context,
    site: Site,
    change: ChangeOptions,
    plan: Callable[[Filesystem, ProgressCallback], list[Change]],
) -> int:
    """Execute a change of users with a progress bar, which is removed before any output."""

    def watched(filesystem: Filesystem) -> list[Change]:
        with _bar(assign_path(site)) as watch:
            return plan(filesystem, watch)

    execute(context, site, change, watched)
    return 0


@contextmanager
def _bar(path: str) -> Iterator[ProgressCallback]:
    """A progress bar for compiling a large file on a terminal."""
    if not on_terminal() or not os.path.exists(path) or os.path.getsize(path) < _WORTH_A_BAR:
        yield no_progress
        return
    with open(path, "rb") as file:
        total = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    with progress("compiling users", total) as watch:
        yield watch
