"""`eqmail report`: an archive for those who are asked for help, without passwords, keys and mail."""

import os
import time

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.options import json_option
from eqmail_setup.cli.output import echo, print_json
from eqmail_setup.diagnostics.runner import find_all
from eqmail_setup.diagnostics.status import read_status
from eqmail_setup.diagnostics.support_bundle import bundle_files, pseudonyms, write_bundle
from eqmail_setup.errors import ExitCode, usage_error


@click.command("report")
@click.argument("file", type=click.Path(dir_okay=False), default="eqmail-report.tar.gz")
@click.option("--redact", is_flag=True, help="Replace the local parts of addresses by pseudonyms.")
@click.option(
    "--file", "logs", metavar="PATH", multiple=True, help="Log file or multilog folder; else the usual places."
)
@json_option
@click.pass_context
def command(context: click.Context, file: str, redact: bool, logs: tuple[str, ...], as_json: bool) -> int:
    """Write a support bundle without passwords and keys.

    FILE is a gzipped tar archive that only its owner can read: versions, findings, the state of the services, settings
    whose secrets are blanked, and the log of the last day. Look at it before you give it away.

    \b
    Examples:
      eqmail report --redact
      eqmail report /root/report.tar.gz --file /var/log/qmail/qmail-send
    """
    site, now = require_installation(context), time.time()
    path = os.path.abspath(file)
    if os.path.lexists(path):
        raise usage_error(f"{path}: exists; choose another name")
    findings = find_all(site, (), (), (), offline=True)
    files = bundle_files(site, read_status(site, now), findings, logs, now)
    names = write_bundle(path, files, pseudonyms() if redact else bytes, now)
    if as_json:
        print_json("report-1", file=path, redacted=redact, entries=names)
    else:
        echo(f"Wrote {path} ({len(names)} files)")
    return ExitCode.OK
