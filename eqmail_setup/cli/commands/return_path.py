"""What `eqmail srs` and `eqmail batv` have in common."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import print_note
from eqmail_setup.errors import ExitCode
from eqmail_setup.transaction.filesystem import Filesystem

if TYPE_CHECKING:
    from eqmail_setup.mail.return_path import SenderScheme
    from eqmail_setup.transaction.plan import Change

Planner = Callable[[Site, Filesystem, "SenderScheme"], "list[Change]"]


_VERBS = {
    "on": "Make a secret, unless there is one.",
    "rotate": "Make a new current secret; bounces to senders of the last two are still accepted.",
    "off": "Remove the secrets; bounces to senders made with them are refused.",
}


def add_verbs(group: click.Group, load: "Callable[[], SenderScheme]") -> None:
    """Add `on`, `rotate` and `off` to the group of a scheme."""
    for verb, text in _VERBS.items():
        group.command(verb, help=f"{text}\n\n\b\nExamples:\n  eqmail {group.name} {verb}")(_callback(verb, load))


def _callback(verb: str, load: "Callable[[], SenderScheme]") -> Callable[..., int]:
    @change_options
    @click.pass_context
    def change_secrets(context: click.Context, change: ChangeOptions) -> int:
        from eqmail_setup.mail import return_path

        plans: dict[str, Planner] = {
            "on": return_path.plan_on,
            "rotate": return_path.plan_rotate,
            "off": return_path.plan_off,
        }
        return _run(context, change, load(), plans[verb])

    return change_secrets


def _run(context: click.Context, change: ChangeOptions, scheme: "SenderScheme", plan: Planner) -> int:
    """Execute a plan for the secrets of one scheme."""
    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan(site, filesystem, scheme))
    if not (change.preview_only or change.as_json):
        print_note("the running SMTP server reads it after: eqmail reload")
    return ExitCode.OK
