"""What `eqmail srs` and `eqmail batv` have in common."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from eqmail_core.site.site import Site
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions
from eqmail_setup.cli.output import print_note
from eqmail_setup.errors import ExitCode
from eqmail_setup.transaction.filesystem import Filesystem

if TYPE_CHECKING:
    from eqmail_setup.mail.return_path import SenderScheme
    from eqmail_setup.transaction.plan import Change

Planner = Callable[[Site, Filesystem, "SenderScheme"], "list[Change]"]


def run(context: click.Context, change: ChangeOptions, scheme: "SenderScheme", plan: Planner) -> int:
    """Carry out a plan for the secrets of one scheme."""
    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan(site, filesystem, scheme))
    if not (change.preview_only or change.as_json):
        print_note("the running SMTP server reads it after: eqmail reload")
    return ExitCode.OK
