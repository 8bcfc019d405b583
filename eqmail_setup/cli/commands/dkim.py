"""`eqmail dkim`: the keys that sign the mail of domains."""

import time

import click

from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, json_option
from eqmail_setup.cli.output import echo, print_json, print_note, print_table
from eqmail_setup.errors import EqmailError, ExitCode

_domain = click.argument("domain")


@click.group("dkim")
def command() -> None:
    """Make, rotate, show and check the keys that sign the mail of domains (DKIM).

    Mail that begins here and whose From names a domain with keys is signed on its way out, once with RSA and once with
    Ed25519. The records of the keys have to be published in the DNS.

    \b
    Examples:
      eqmail dkim generate example.org
      eqmail dkim record example.org
      eqmail dkim check example.org
    """


@command.command("generate")
@_domain
@change_options
@click.pass_context
def generate(context: click.Context, domain: str, change: ChangeOptions) -> int:
    """Make a pair of keys for DOMAIN, RSA of 2048 bits and Ed25519.

    The first pair signs at once. A later one signs when eqmail dkim rotate has found its records in the DNS.

    \b
    Examples:
      eqmail dkim generate example.org
    """
    from eqmail_setup.mail.dkim import plan_generate

    name, site = _checked(domain), require_installation(context)
    execute(context, site, change, lambda filesystem: plan_generate(site, filesystem, name, time.time()))
    if not change.preview_only and not change.as_json:
        print_note(f"publish its records: eqmail dkim record {name}")
    return ExitCode.OK


@command.command("rotate")
@_domain
@change_options
@click.pass_context
def rotate(context: click.Context, domain: str, change: ChangeOptions) -> int:
    """Do the next step of replacing the keys of DOMAIN; fit for cron, once a day.

    First a new pair is made. When the DNS has its records it signs, and the old pair retires. A week later that is
    removed.

    \b
    Examples:
      eqmail dkim rotate example.org
    """
    from eqmail_setup.mail.dkim import Rotation, plan_rotate
    from eqmail_setup.network.dns import query
    from eqmail_setup.transaction.filesystem import Filesystem
    from eqmail_setup.transaction.plan import Change

    name, site = _checked(domain), require_installation(context)
    steps: list[Rotation] = []

    def plan(filesystem: Filesystem) -> list[Change]:
        steps.append(plan_rotate(site, filesystem, name, time.time(), lambda wanted: query(wanted, "TXT")))
        return steps[-1].changes

    execute(context, site, change, plan)
    for note in steps[-1].notes:
        print_note(note)
    return ExitCode.OK


@command.command("record")
@_domain
@json_option
@click.pass_context
def record(context: click.Context, domain: str, as_json: bool) -> int:
    """Show the records of the keys of DOMAIN, as lines of a zone file.

    \b
    Examples:
      eqmail dkim record example.org
      eqmail dkim record example.org --json
    """
    from eqmail_setup.mail.dkim import keys_of, records
    from eqmail_setup.network.records import DnsRecord
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    name, site = _checked(domain), require_installation(context)
    filesystem = DiskFilesystem(site.home)
    found = [DnsRecord(key, "TXT", text) for key, text in records(site, filesystem, name)]
    if not keys_of(site, filesystem, name):
        raise _no_keys(name)
    if as_json:
        print_json("dkim-record-1", domain=name, records=[{"name": it.name, "value": it.value} for it in found])
        return ExitCode.OK
    for item in found:
        echo(item.zone_line())
    return ExitCode.OK


@command.command("check")
@click.argument("domain", required=False)
@json_option
@click.pass_context
def check(context: click.Context, domain: str | None, as_json: bool) -> int:
    """Compare the keys of DOMAIN, or of all domains, with the DNS; exit 1 if a key signs without its record.

    \b
    Examples:
      eqmail dkim check
      eqmail dkim check example.org --json
    """
    from eqmail_setup.mail.dkim import check_key, keys_of, signing_domains
    from eqmail_setup.network.dns import query
    from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

    site = require_installation(context)
    filesystem = DiskFilesystem(site.home)
    names = [_checked(domain)] if domain else signing_domains(site, filesystem)
    keys = [(name, key) for name in names for key in keys_of(site, filesystem, name)]
    if domain and not keys:
        raise _no_keys(names[0])
    found = [(name, key, check_key(key, name, lambda wanted: query(wanted, "TXT"))) for name, key in keys]
    if as_json:
        rows = [{"domain": name, **key._asdict(), "dns": state} for name, key, state in found]
        print_json("dkim-check-1", keys=rows)
    else:
        print_table(
            ("DOMAIN", "SELECTOR", "STATE", "DNS"),
            [(name, key.selector, key.state, state) for name, key, state in found],
        )
    is_bad = any(state != "ok" and key.state == "active" for _, key, state in found)
    return ExitCode.PROBLEMS if is_bad else ExitCode.OK


@command.command("test")
@_domain
@json_option
@click.pass_context
def test(context: click.Context, domain: str, as_json: bool) -> int:
    """Sign a message of DOMAIN and verify it with the records in the DNS; exit 1 unless all signatures pass.

    Needs an account that may read the keys.

    \b
    Examples:
      eqmail dkim test example.org
    """
    from eqmail_setup.mail.dkim import sample_verdict
    from eqmail_setup.network.dns import query

    name, site = _checked(domain), require_installation(context)
    found = sample_verdict(site, name, lambda wanted: query(wanted, "TXT"), int(time.time()))
    if not found:
        raise _no_keys(name)
    if as_json:
        print_json("dkim-test-1", domain=name, results=dict(found))
    else:
        print_table(("SELECTOR", "RESULT"), found)
    return ExitCode.OK if all(result == "pass" for _, result in found) else ExitCode.PROBLEMS


def _checked(domain: str) -> str:
    from eqmail_setup.network.hostnames import require_host_name

    require_host_name(domain)
    return domain.lower()


def _no_keys(domain: str) -> EqmailError:
    return EqmailError(f"{domain}: no DKIM keys", hint=("eqmail", "dkim", "generate", domain))
