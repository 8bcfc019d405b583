"""`eqmail queue suspend` and `resume`: domains whose mail waits, in control/suspendeddomains."""

import os
import time
from collections.abc import Callable

import click

from eqmail_core.control.controls import Controls
from eqmail_core.control.list_kinds import NO_END, render_time
from eqmail_core.mail.domain_name import table_key
from eqmail_core.queue.admin.control import RETRY
from eqmail_core.queue.admin.filter import parse_filter
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.text.lines import non_empty_lines, period
from eqmail_setup.cli.commands.queue.common import controlled
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import Column, print_json, print_note, print_table
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.queue.operations import Selection
from eqmail_setup.queue.operations import change as change_messages
from eqmail_setup.queue.presentation import age
from eqmail_setup.settings.editor import content_of, plan_unset, plan_write, without_lines
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change

_CONTROL = Controls.suspendeddomains


@click.command("suspend")
@click.argument("domains", nargs=-1)
@click.option(
    "--for", "duration", metavar="PERIOD", default="", help="How long, such as 30m, 2h or 1d; else until resume."
)
@change_options
@click.pass_context
def suspend(context: click.Context, domains: tuple[str, ...], duration: str, change: ChangeOptions) -> int:
    """Stop deliveries to DOMAINS; mail for them waits and does not expire. Without DOMAINS, list what is suspended.

    \b
    Examples:
      eqmail queue suspend example.org --for 2h
      eqmail queue suspend .example.org      (every host below it)
    """
    site = require_installation(context)
    if not domains:
        return _list(site, change.as_json)
    seconds = period(duration.encode()) if duration else NO_END
    if duration and not seconds:
        raise usage_error(f"--for {duration}: invalid period; give one such as 30m, 2h or 1d")
    keys = list(dict.fromkeys(_key(domain) for domain in domains))
    end = b":" + render_time(int(time.time()) + seconds) if seconds else b""

    def plan(filesystem: Filesystem) -> list[Change]:
        kept = _without(content_of(site, filesystem, _CONTROL), keys)
        return plan_write(site, filesystem, _CONTROL, kept + b"".join(key + end + b"\n" for key in keys))

    return _carry_out(context, site, change, plan)


@click.command("resume")
@click.argument("domains", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Resume every suspended domain.")
@change_options
@click.pass_context
def resume(context: click.Context, domains: tuple[str, ...], everything: bool, change: ChangeOptions) -> int:
    """Resume deliveries to suspended DOMAINS and try their mail now."""
    site = require_installation(context)
    if bool(domains) == everything:
        raise usage_error("give domains or --all")
    suspended = read_controls(site).suspendeddomains or {}
    keys = list(suspended if everything else dict.fromkeys(_key(domain) for domain in domains))
    missing = [os.fsdecode(key) for key in keys if key not in suspended]
    if missing:
        raise EqmailError(f"{', '.join(missing)}: not suspended", hint=("eqmail", "queue", "suspend"))

    def plan(filesystem: Filesystem) -> list[Change]:
        content = content_of(site, filesystem, _CONTROL)
        left = _without(content, keys)
        if left == (content or b""):
            return []
        return plan_write(site, filesystem, _CONTROL, left) if left else plan_unset(site, filesystem, _CONTROL)

    code = _carry_out(context, site, change, plan)
    if not change.preview_only:
        _retry(site, keys)
    return code


def _carry_out(
    context: click.Context, site: Site, change: ChangeOptions, plan: Callable[[Filesystem], list[Change]]
) -> int:
    execute(context, site, change, plan, reload=True)
    return 0


def _retry(site: Site, keys: list[bytes]) -> None:
    """Try the mail of resumed domains now."""
    for key in keys:
        pattern = f"domain={'*' if key.startswith(b'.') else ''}{os.fsdecode(key)}"
        with controlled(site, RETRY) as control:
            for _ in change_messages(site, control, RETRY, Selection(parse_filter(pattern), None)):
                pass


def _list(site: Site, as_json: bool) -> int:
    """Show the suspended domains with the ends of their suspensions."""
    now = time.time()
    current = {key: end for key, end in (read_controls(site).suspendeddomains or {}).items() if not 0 < end <= now}
    if as_json:
        print_json(
            "suspended-domains-1",
            domains=[{"domain": os.fsdecode(key), "until": end or None} for key, end in current.items()],
        )
        return 0
    rows = [
        (os.fsdecode(key), render_time(end).decode() if end else "resumed", age(end - now) if end else "")
        for key, end in sorted(current.items())
    ]
    if rows:
        print_table([Column("DOMAIN"), Column("UNTIL"), Column("LEFT", right=True)], rows)
    else:
        print_note("no domain is suspended")
    return 0


def _without(content: bytes | None, keys: list[bytes]) -> bytes:
    """The lines of other domains whose suspension is not over, and comments."""
    now = time.time()

    def is_unwanted(entry: bytes) -> bool:
        key, end = next(iter((_CONTROL.parse(entry + b"\n")[0] or {b"": NO_END}).items()))
        return key in keys or 0 < end <= now

    left = without_lines(content, is_unwanted) or b""
    return left if not left or left.endswith(b"\n") else left + b"\n"


def _key(domain: str) -> bytes:
    key = table_key(os.fsencode(domain))
    if not key.strip(b".") or non_empty_lines(key + b"\n") != [key] or b":" in key or b" " in key or b"@" in key:
        raise usage_error(f"invalid domain {domain!r}; give one such as example.org or .example.org")
    return key


VERBS = (suspend, resume)
