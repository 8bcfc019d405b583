"""`eqmail gen-dovecot`: Dovecot for the mailboxes of this installation."""

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, staged_change_options
from eqmail_setup.cli.output import echo, print_json


@click.command("gen-dovecot")
@click.option("--install", is_flag=True, help="Write the configuration and the list of mailboxes.")
@click.option("--config", "path", metavar="FILE", default="", help="Where; else /etc/dovecot/dovecot.conf.")
@click.option("--listen", metavar="ADDRESSES", default="*, ::", show_default=True, help="Addresses to listen on.")
@click.option("--replace", is_flag=True, help="Also where there is another configuration, which is kept beside it.")
@staged_change_options
@click.pass_context
def command(context: click.Context, change: ChangeOptions, install: bool, path: str, listen: str, replace: bool) -> int:
    """Generate the configuration of Dovecot 2.3: IMAP, POP3 and LMTP over the same mailboxes and credentials.

    Without --install it is printed. Every later eqmail mailbox command keeps the list of mailboxes up to date. People
    log in with their address and the password of eqmail auth; clear-text secrets do not count.

    \b
    Examples:
      eqmail gen-dovecot
      eqmail gen-dovecot --install --replace --diff
      eqmail gen-dovecot --install --replace
    """
    from eqmail_setup.mail.dovecot import (
        CONFIG,
        CONFIG_MODE,
        config_text,
        installed_version,
        plan_config,
        plan_users,
        require_certificate,
        require_supported,
    )
    from eqmail_setup.mail.mailboxes import dovecot_lines
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    if not (install or change.preview_only):
        text = config_text(site, listen).decode()
        if change.as_json:
            file = {"path": path or CONFIG, "mode": f"{CONFIG_MODE:04o}", "content": text}
            print_json("service-files-1", files=[file])
        else:
            echo(text, nl=False)
        return 0
    require_supported(installed_version())
    require_certificate(site, DiskFilesystem(site.home))
    number = execute(
        context,
        site,
        change,
        lambda filesystem: [
            *plan_users(site, filesystem, dovecot_lines(site, filesystem)),
            *plan_config(site, filesystem, path or CONFIG, listen, replace),
        ],
    )
    if number and not change.as_json:
        echo("Restart required: service dovecot restart")
    return 0
