"""`eqmail cert`: the certificate of the SMTP server, made, renewed and shown."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.commands.cert_acme import acme, timer
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute
from eqmail_setup.cli.options import ChangeOptions, change_options, json_option
from eqmail_setup.cli.output import print_json, print_note
from eqmail_setup.cli.values import InputFile
from eqmail_setup.errors import EqmailError
from eqmail_setup.network.hostnames import require_host_name

if TYPE_CHECKING:
    from eqmail_setup.mail.certificates import Key

_days = click.option("--days", type=click.IntRange(1, 36500), help="How long it is valid; two years.")


@click.group("cert")
def command() -> None:
    """Make, renew and show the certificate of the SMTP server, control/servercert.pem.

    One of a public authority goes into the same file: eqmail cert install puts it there. Running services take a new
    file with their next client.

    \b
    Examples:
      eqmail cert make
      eqmail cert install fullchain.pem privkey.pem
      eqmail cert renew
      eqmail cert show
    """


@command.command("make")
@click.argument("names", nargs=-1)
@click.option("--kind", type=click.Choice(("ecdsa", "rsa")), default="ecdsa", help="Kind of key: ecdsa (P-256) or rsa.")
@_days
@click.option("--replace", is_flag=True, help="Also where there is a certificate.")
@change_options
@click.pass_context
def make(
    context: click.Context, names: tuple[str, ...], kind: str, days: int | None, replace: bool, change: ChangeOptions
) -> int:
    """Create a key and a self-signed certificate for the hosts NAMES, by default for the name of this host.

    Other servers take it. Mail programs of people ask about it.

    \b
    Examples:
      eqmail cert make
      eqmail cert make mail.example.org mx.example.net --kind rsa --replace
    """
    from eqmail_setup.mail.certificates import DEFAULT_DAYS, plan_new_certificate

    site = require_installation(context)
    chosen = names or (_name_of(site),)
    for name in chosen:
        require_host_name(name)
    execute(
        context,
        site,
        change,
        lambda world: plan_new_certificate(site, world, chosen, kind, days or DEFAULT_DAYS, replace),
    )
    return 0


@command.command("install")
@click.argument("chain", type=InputFile())
@click.argument("key", type=InputFile())
@change_options
@click.pass_context
def install(context: click.Context, chain: str, key: str, change: ChangeOptions) -> int:
    """Put a certificate of an authority in place: CHAIN, that of this host first, and its private KEY, both PEM.

    Refuses a key that belongs to another certificate, a chain that does not hang together, a certificate that is over.
    Fit for the hook of an ACME client.

    \b
    Examples:
      eqmail cert install /etc/letsencrypt/live/mail.example.org/fullchain.pem \\
        /etc/letsencrypt/live/mail.example.org/privkey.pem
    """
    from datetime import UTC, datetime

    from eqmail_setup.mail.certificates import installing, read

    site = require_installation(context)
    certificates, secret = (read_file(path) or b"" for path in (chain, key))
    execute(context, site, change, lambda world: installing(site, world, certificates, secret, datetime.now(UTC)))
    names = read(certificates).names
    if not (_is_among(_name_of(site), names) or change.as_json):
        click.echo(f"eqmail: warning: it is for {' '.join(names)}, and this host is {_name_of(site)}", err=True)
    return 0


@command.command("renew")
@_days
@click.option("--within", type=click.IntRange(0), default=30, help="Only if it ends within so many days; 30.")
@click.option("--new-key", is_flag=True, help="With a new key; where TLSA is published, once its record is there.")
@click.option("--force", is_flag=True, help="Also where it is not time yet; of one obtained by ACME.")
@change_options
@click.pass_context
def renew(
    context: click.Context, days: int | None, within: int, new_key: bool, force: bool, change: ChangeOptions
) -> int:
    """Make the certificate last longer, if it ends soon; names and key stay. Fit for cron.

    Refuses one that an authority issued.

    \b
    Examples:
      eqmail cert renew
      eqmail cert renew --within 3650 --new-key
    """
    from eqmail_setup.mail.certificates import DEFAULT_DAYS, plan_renewal

    site = require_installation(context)
    if os.path.exists(f"{site.home}/acme/certificate.json"):
        from eqmail_setup.acme.renewal import plan_acme_renewal

        execute(context, site, change, lambda world: plan_acme_renewal(site, world, force, new_key, print_note))
        return 0
    key = _next_key(site, force) if new_key else None
    execute(context, site, change, lambda world: plan_renewal(site, world, days or DEFAULT_DAYS, within, key))
    return 0


def _next_key(site: Site, is_forced: bool) -> "Key | None":
    from eqmail_setup.mail.certificates import path_in, read
    from eqmail_setup.mail.tlsa_rollover import next_key
    from eqmail_setup.network.dns import query

    content = read_file(f"{site.home}/{path_in(site)}")
    try:
        old = read(content) if content else None
    except ValueError:
        old = None
    return next_key(site, _name_of(site), old.kind, old.tlsa, query, is_forced) if old else None


@command.command("hook")
@click.argument("client", type=click.Choice(("certbot",)))
@click.option("--install", "is_installed", is_flag=True, help="Write it, instead of printing it.")
@click.pass_context
def hook(context: click.Context, client: str, is_installed: bool) -> int:
    """Print a program that another ACME client runs after a renewal.

    It puts the new certificate in place. With --install it is written where certbot looks for it.

    \b
    Examples:
      eqmail cert hook certbot
      eqmail cert hook certbot --install
    """
    from eqmail_setup.acme.hooks import certbot_hook, install_hook

    path, text = certbot_hook(require_installation(context))
    if is_installed:
        install_hook(path, text)
    click.echo(f"Created {path}." if is_installed else text.decode(), nl=is_installed)
    return 0


command.add_command(acme)
command.add_command(timer)


@command.command("show")
@json_option
@click.pass_context
def show(context: click.Context, as_json: bool) -> int:
    """Show names, issuer and end of the certificate, and what to publish of it (TLSA).

    \b
    Examples:
      eqmail cert show --json
    """
    from eqmail_setup.mail.certificates import path_in, read

    site = require_installation(context)
    path = f"{site.home}/{path_in(site)}"
    content = read_file(path)
    if content is None:
        raise EqmailError(f"{path}: missing, so the SMTP server offers no TLS; make one: eqmail cert make")
    try:
        found = read(content)
    except ValueError as error:
        raise EqmailError(
            f"{path}: holds no certificate; put the chain and the key into it: eqmail cert make"
        ) from error
    record = f"_25._tcp.{_name_of(site)}. IN TLSA 3 1 1 {found.tlsa}"
    if as_json:
        dates = {"begins": found.begins.isoformat(), "ends": found.ends.isoformat()}
        print_json("certificate-1", **{**found._asdict(), **dates, "record": record})
        return 0
    for key, value in (
        ("names", " ".join(found.names)),
        ("issuer", "self-signed" if found.is_self_signed else found.issuer),
        ("key", found.kind),
        ("valid", f"{found.begins:%Y-%m-%d} to {found.ends:%Y-%m-%d}"),
        ("SHA-256", found.fingerprint),
        ("TLSA", record),
    ):
        click.echo(f"{key:8} {value}")
    return 0


def _is_among(host: str, names: Sequence[str]) -> bool:
    host = host.lower()
    return any(name.lower() in (host, "*." + host.partition(".")[2]) for name in names)


def _name_of(site: Site) -> str:
    name = read_controls(site).me
    if name is None:
        raise EqmailError(f"{site.control}: does not say the name of this host; run: eqmail config-fast NAME")
    return os.fsdecode(name)
