"""`eqmail mailbox`: mailboxes of any domain, with password, quota and forwarding in one step."""

from typing import TYPE_CHECKING

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.mailbox_account import ACCOUNT, owner_of_mailboxes
from eqmail_setup.cli.options import ChangeOptions, change_options, json_option, reload_option
from eqmail_setup.cli.output import Column, echo, print_json, print_note, print_table
from eqmail_setup.cli.passwords import note_checker, password_options, secret_from
from eqmail_setup.cli.values import size_value
from eqmail_setup.errors import usage_error
from eqmail_setup.settings.units import size_text

if TYPE_CHECKING:
    from eqmail_setup.mail.mailboxes import Mailbox

_COLUMNS = (
    *("ADDRESS", "LOGIN", Column("USED", right=True), Column("QUOTA", right=True)),
    *("FORWARDS TO", "MAILDIR"),
)


@click.group("mailbox")
def command() -> None:
    """Manage mailboxes: addresses with a Maildir, in any domain, with or without an account of the system.

    A domain that is not delivered here yet is added. Each change of users/assign, virtualdomains, rcpthosts and
    users/smtpauth is part of one transaction.

    \b
    Examples:
      eqmail mailbox add ann@example.net --password --quota 5G
      eqmail mailbox list example.net
      eqmail mailbox forward ann@example.net ann@elsewhere.example --keep
    """


@command.command("add")
@click.argument("address")
@click.option("--quota", type=size_value, default="0", metavar="SIZE", help="Most bytes of mail, such as 500M or 5G.")
@click.option(
    "--ids", metavar="UID:GID", default="", help=f"Owner of the mail; else that of the domain, else {ACCOUNT}."
)
@password_options
@reload_option
@change_options
@click.pass_context
def add(
    context: click.Context,
    change: ChangeOptions,
    reload: bool,
    address: str,
    quota: int,
    ids: str,
    asks: bool,
    stdin: bool,
    hash: str,
) -> int:
    """Create the mailbox ADDRESS: home, Maildir, delivery, and with a password a login for sending and reading.

    \b
    Examples:
      eqmail mailbox add ann@example.net
      eqmail mailbox add ann@example.net --password --quota 5G
      eqmail mailbox add ann@example.net --stdin < secret
    """
    from eqmail_setup.mail.mailboxes import parse_address, plan_add

    box = parse_address(address)
    site = require_installation(context)
    secret = secret_from(address, asks, stdin, hash)
    owner = owner_of_mailboxes(site, ids, box.domain, change)
    execute(
        *(context, site, change),
        lambda filesystem: plan_add(site, filesystem, box, owner, secret, quota),
        reload=reload,
    )
    if secret:
        note_checker(site, change)
    elif not (change.preview_only or change.as_json):
        print_note(
            f"{box} has no password, so it cannot be used for sending and reading",
            ("eqmail", "mailbox", "passwd", str(box)),
        )
    return 0


@command.command("list")
@click.argument("domain", required=False)
@json_option
@click.pass_context
def list_(context: click.Context, domain: str | None, as_json: bool) -> int:
    """List the mailboxes, of DOMAIN or of all domains.

    \b
    Examples:
      eqmail mailbox list
      eqmail mailbox list example.net --json
    """
    from eqmail_setup.mail.mailboxes import list_mailboxes
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    boxes = list_mailboxes(site, DiskFilesystem(site.home), (domain or "").lower())
    if as_json:
        print_json("mailboxes-1", mailboxes=[_value(box) for box in boxes])
        return 0
    if not boxes:
        print_note("no mailboxes", ("eqmail", "mailbox", "add", f"ann@{domain or 'example.net'}"))
        return 0
    rows = [
        (
            str(box.address),
            "yes" if box.has_login else "no",
            size_text(box.used_bytes) if box.quota_bytes else "-",
            size_text(box.quota_bytes) if box.quota_bytes else "-",
            " ".join(box.forwards) + ("" if box.keeps or not box.forwards else " (only)") or "-",
            box.maildir,
        )
        for box in boxes
    ]
    print_table(_COLUMNS, rows, f"{len(boxes)} mailbox{'' if len(boxes) == 1 else 'es'}")
    return 0


@command.command("remove")
@click.argument("address")
@click.option("--discard-mail", is_flag=True, help="Also remove the mail, which cannot be undone.")
@change_options
@click.pass_context
def remove(context: click.Context, change: ChangeOptions, address: str, discard_mail: bool) -> int:
    """Remove the mailbox ADDRESS and its login; the mail stays where it is.

    \b
    Examples:
      eqmail mailbox remove ann@example.net --dry-run
      eqmail mailbox remove ann@example.net --discard-mail
    """
    from eqmail_setup.mail.mailboxes import find_mailbox, parse_address, plan_remove
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    box = parse_address(address)
    site = require_installation(context)
    found = find_mailbox(site, DiskFilesystem(site.home), box)
    execute(context, site, change, lambda filesystem: plan_remove(site, filesystem, box, discard_mail))
    if not (discard_mail or change.preview_only or change.as_json):
        echo(f"Mail kept in {found.entry.home}")
    return 0


@command.command("passwd")
@click.argument("address")
@password_options
@change_options
@click.pass_context
def passwd(context: click.Context, change: ChangeOptions, address: str, asks: bool, stdin: bool, hash: str) -> int:
    """Set the password of the mailbox ADDRESS; without an option it is asked for.

    \b
    Examples:
      eqmail mailbox passwd ann@example.net
      eqmail mailbox passwd ann@example.net --stdin < secret
    """
    from eqmail_setup.mail.credentials import plan_set_credential
    from eqmail_setup.mail.mailboxes import find_mailbox, parse_address

    box = parse_address(address)
    site = require_installation(context)
    secret = secret_from(address, asks or not (stdin or hash), stdin, hash)

    execute(
        context,
        site,
        change,
        lambda filesystem: (
            find_mailbox(site, filesystem, box) and plan_set_credential(site, filesystem, str(box), secret)
        ),
    )
    note_checker(site, change)
    return 0


@command.command("quota")
@click.argument("address")
@click.argument("size", type=size_value, metavar="SIZE")
@change_options
@click.pass_context
def quota(context: click.Context, change: ChangeOptions, address: str, size: int) -> int:
    """Set how much mail ADDRESS may keep: SIZE such as 500M or 5G, or 0 for no limit.

    \b
    Examples:
      eqmail mailbox quota ann@example.net 5G
    """
    from eqmail_setup.mail.mailboxes import parse_address, plan_quota

    box = parse_address(address)
    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan_quota(site, filesystem, box, size))
    return 0


@command.command("forward")
@click.argument("address")
@click.argument("targets", nargs=-1)
@click.option("--keep", is_flag=True, help="Keep mail in the mailbox as well.")
@click.option("--off", is_flag=True, help="Stop forwarding.")
@change_options
@click.pass_context
def forward(
    context: click.Context, change: ChangeOptions, address: str, targets: tuple[str, ...], keep: bool, off: bool
) -> int:
    """Forward mail for ADDRESS to other addresses.

    \b
    Examples:
      eqmail mailbox forward ann@example.net ann@elsewhere.example --keep
      eqmail mailbox forward ann@example.net --off
    """
    from eqmail_setup.mail.mailboxes import parse_address, plan_forward

    if bool(targets) == off:
        raise usage_error("give addresses, or --off")
    box = parse_address(address)
    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan_forward(site, filesystem, box, targets, keep))
    return 0


def _value(box: "Mailbox") -> dict[str, object]:
    value = box._asdict()
    entry = value.pop("entry")
    return {**value, "address": str(box.address), "uid": entry.uid, "gid": entry.gid, "home": entry.home}
