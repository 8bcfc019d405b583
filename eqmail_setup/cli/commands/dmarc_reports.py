"""`eqmail dmarc reports`: aggregate reports to the domains whose mail arrives, and from receivers of ours."""

import os
import time
from typing import TYPE_CHECKING

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, json_option
from eqmail_setup.cli.output import echo, print_json, print_note, print_table, print_warning
from eqmail_setup.errors import ExitCode, usage_error

if TYPE_CHECKING:
    from eqmail_core.reports.store import ReportStore
    from eqmail_core.site.site import Site


@click.group("reports")
def reports() -> None:
    """Count and send aggregate reports of DMARC, and read received ones (RFC 9990).

    While it is on, the SMTP server counts the results of messages that it checks. Once a day each domain that asks for
    reports gets one. Off until it is turned on.

    \b
    Examples:
      eqmail dmarc reports on
      eqmail dmarc reports list
      eqmail dmarc reports send
    """


@reports.command("on")
@click.option("--from", "address", metavar="ADDRESS", default="", help="From field of reports; postmaster@ this host.")
@click.option("--timer/--no-timer", "with_timer", default=True, help="Whether they are sent once a day.")
@change_options
@click.pass_context
def on(context: click.Context, address: str, with_timer: bool, change: ChangeOptions) -> int:
    """Count results, and send reports once a day.

    \b
    Examples:
      eqmail dmarc reports on
      eqmail dmarc reports on --from dmarc@example.org
    """
    from eqmail_core.control.controls import Controls
    from eqmail_core.control.filter_settings import OFF
    from eqmail_core.reports.destinations import mail_address
    from eqmail_core.system.installation import read_controls
    from eqmail_setup.mail.dkim import keys_of
    from eqmail_setup.mail.dmarc_reports import plan_on
    from eqmail_setup.periodic import DMARC_REPORTS, install_jobs, job_files
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    controls = read_controls(site)
    sender = address or f"postmaster@{os.fsdecode(controls.me or b'')}"
    if mail_address(f"mailto:{sender}") is None:
        raise usage_error(f"{sender!r} is not an address")
    execute(context, site, change, lambda filesystem: plan_on(site, filesystem, sender))
    if change.preview_only or change.as_json:
        return ExitCode.OK
    if controls.authcheck in (None, OFF):
        print_warning(
            "messages are not checked, so nothing is counted",
            ("eqmail", "config", "set", Controls.authcheck.file, "mark"),
        )
    domain = sender.rpartition("@")[2]
    if not keys_of(site, DiskFilesystem(site.home), domain):
        print_warning(f"reports from {sender} are not signed", ("eqmail", "dkim", "generate", domain))
    if with_timer and not site.single_user:
        install_jobs(job_files(site, DMARC_REPORTS), DMARC_REPORTS)
    else:
        print_note("have this run once a day: eqmail dmarc reports send")
    print_note("the running SMTP server counts after: eqmail reload")
    return ExitCode.OK


@reports.command("off")
@change_options
@click.pass_context
def off(context: click.Context, change: ChangeOptions) -> int:
    """Stop counting; reports about what is counted are still sent.

    \b
    Examples:
      eqmail dmarc reports off
    """
    from eqmail_setup.mail.dmarc_reports import plan_off

    site = require_installation(context)
    execute(context, site, change, lambda filesystem: plan_off(site, filesystem))
    if not (change.preview_only or change.as_json):
        print_note("the running SMTP server stops counting after: eqmail reload")
    return ExitCode.OK


@reports.command("list")
@json_option
@click.pass_context
def list_(context: click.Context, as_json: bool) -> int:
    """List what is counted and what was sent.

    Also the addresses that get nothing, because reports to them came back.

    \b
    Examples:
      eqmail dmarc reports list
    """
    site = require_installation(context)
    store = _store(site)
    now = time.time()
    counted = [(_day(day), domain, messages) for day, domain, messages in store.overview()] if store else []
    sent = [(_day(day), domain, address, result) for day, domain, address, _, result in store.sent()] if store else []
    held = [(address, _day(until // 86400)) for address, until in store.suppressed(now).items()] if store else []
    if as_json:
        print_json(
            "dmarc-reports-1",
            counted=[dict(zip(("day", "domain", "messages"), row, strict=True)) for row in counted],
            sent=[dict(zip(("day", "domain", "address", "result"), row, strict=True)) for row in sent],
            suppressed=[dict(zip(("address", "until"), row, strict=True)) for row in held],
        )
        return ExitCode.OK
    if not (counted or sent or held):
        echo("nothing is counted, and nothing was sent")
    if counted:
        print_table(("DAY", "DOMAIN", "MESSAGES"), [(day, domain, str(count)) for day, domain, count in counted])
    if sent:
        print_table(("DAY", "DOMAIN", "ADDRESS", "RESULT"), sent)
    if held:
        print_table(("ADDRESS", "NOTHING UNTIL"), held)
    return ExitCode.OK


@reports.command("send")
@json_option
@click.pass_context
def send(context: click.Context, as_json: bool) -> int:
    """Send the reports of all days that are over (UTC).

    Exits 1 if one has to wait.

    \b
    Examples:
      eqmail dmarc reports send
    """
    from eqmail_core.dns.resolver import BlockingResolver
    from eqmail_setup.mail.dmarc_reports import ReportSender

    site = require_installation(context)
    store = _store(site)
    found = list(ReportSender(site, store, BlockingResolver()).send_due()) if store else []
    if as_json:
        print_json("dmarc-sent-1", reports=[it._asdict() for it in found])
    elif found:
        print_table(("DAY", "DOMAIN", "ADDRESS", "RESULT"), found)
    else:
        echo("no report is due")
    return ExitCode.PROBLEMS if any(it.result.startswith("waits:") for it in found) else ExitCode.OK


@reports.command("show")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True))
@json_option
def show(files: tuple[str, ...], as_json: bool) -> int:
    """Show received reports.

    FILES are messages, .xml, .gz or .zip files, or Maildirs. Exits 1 if one cannot be read.

    \b
    Examples:
      eqmail dmarc reports show google.com!example.org!1700000000!1700086399.zip
      eqmail dmarc reports show ~/Maildir
    """
    from eqmail_setup.mail.received_reports import MAX_FILE, UnreadableReport, read_reports

    found, problems = [], []
    for path in [inner for name in files for inner in _files(name)]:
        try:
            with open(path, "rb") as file:
                found += read_reports(file.read(MAX_FILE + 1))
        except (UnreadableReport, OSError) as error:
            problems.append((path, str(error)))
    if as_json:
        print_json(
            "dmarc-received-1",
            reports=[{**it._asdict(), "rows": [row._asdict() for row in it.rows]} for it in found],
            problems=[{"file": path, "problem": why} for path, why in problems],
        )
    else:
        rows = [
            (it.begin, it.reporter, it.domain, row.ip, str(row.messages), row.dkim, row.spf, row.disposition)
            for it in found
            for row in it.rows
        ]
        print_table(("DAY", "REPORTER", "DOMAIN", "CLIENT", "MESSAGES", "DKIM", "SPF", "DISPOSITION"), rows)
        for path, why in problems:
            print_warning(f"{path}: {why}")
    return ExitCode.PROBLEMS if problems else ExitCode.OK


def _files(path: str) -> list[str]:
    """Return a file, or the messages of a Maildir, else the files in a folder."""
    if not os.path.isdir(path):
        return [path]
    folders = [inner for inner in (f"{path}/new", f"{path}/cur") if os.path.isdir(inner)] or [path]
    return sorted(item.path for folder in folders for item in os.scandir(folder) if item.is_file())


def _store(site: "Site") -> "ReportStore | None":
    from eqmail_setup.mail.dmarc_reports import open_store

    return open_store(site)


def _day(day: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(day * 86400))
