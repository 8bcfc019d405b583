"""`eqmail cert acme` and `eqmail cert timer`: a certificate from an ACME authority, and its renewal."""

import os

import click

from eqmail_core.system.installation import read_controls
from eqmail_setup.cli.context import require_installation
from eqmail_setup.cli.execute import execute, print_nothing_done
from eqmail_setup.cli.options import ChangeOptions, change_options
from eqmail_setup.cli.output import confirm, echo, is_interactive, print_hint, print_note
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.network.hostnames import require_host_name

_UPDATES = "rfc2136"


@click.command("acme")
@click.argument("names", nargs=-1)
@click.option("--http", metavar="PORT", type=click.IntRange(1, 65535), help="Prove by a server on PORT.  [default: 80]")
@click.option("--webroot", metavar="DIR", help="Prove by a file below DIR, the folder of a web server.")
@click.option("--alpn", metavar="PORT", type=click.IntRange(1, 65535), help="Prove by TLS on PORT, mostly 443.")
@click.option("--dns", metavar="HOOK", help="Prove by a TXT record: runs HOOK add|remove NAME VALUE; or rfc2136.")
@click.option(
    "--dns-server", metavar="HOST[:PORT]", default="", help="With --dns rfc2136: the name server of the zone."
)
@click.option("--dns-key", metavar="FILE", default="", help="With --dns rfc2136: the key for updates, as BIND has it.")
@click.option("--email", metavar="ADDRESS", default="", help="Where the authority may write to.")
@click.option("--agree-tos", is_flag=True, help="Accept the terms of service of the authority.")
@click.option("--server", metavar="URL", help="Directory of the authority.  [default: Let's Encrypt]")
@click.option("--staging", is_flag=True, help="Let's Encrypt's server for tests.")
@click.option("--ca", metavar="FILE", default="", help="CA certificates for the connection to the authority.")
@click.option(
    "--kind", type=click.Choice(("ecdsa", "rsa")), default="ecdsa", show_default=True, help="Kind of a new key."
)
@click.option("--new-key", is_flag=True, help="With a new key; where TLSA is published, once its record is there.")
@change_options
@click.pass_context
def acme(
    context: click.Context,
    names: tuple[str, ...],
    http: int | None,
    webroot: str | None,
    alpn: int | None,
    dns: str | None,
    dns_server: str,
    dns_key: str,
    email: str,
    agree_tos: bool,
    server: str | None,
    staging: bool,
    ca: str,
    kind: str,
    new_key: bool,
    change: ChangeOptions,
) -> int:
    """Obtain a certificate from an ACME authority.

    For the host NAMES, or this host; from Let's Encrypt or another one. It is put in place, and running services take
    it with their next client. The key of the certificate that is there stays, so that TLSA records remain valid.
    `eqmail cert renew` renews it the same way; `eqmail cert timer` does that twice a day.

    \b
    Examples:
      eqmail cert acme --email postmaster@example.org --agree-tos
      eqmail cert acme mail.example.org mx.example.org --webroot /var/www/html --agree-tos
      eqmail cert acme --dns /usr/local/bin/set-txt --agree-tos
      eqmail cert acme --dns rfc2136 --dns-server ns.example.org --dns-key /etc/bind/acme.key --agree-tos
    """
    try:
        from eqmail_setup.acme.account import LETS_ENCRYPT, STAGING, AcmeOrder
        from eqmail_setup.acme.renewal import plan_certificate
    except ImportError as error:
        raise EqmailError(f"a library is missing: {error}", hint=("pip", "install", "eqmail[acme]")) from error
    site = require_installation(context)
    chosen = names or (read_controls(site).me or b"").decode("utf-8", "replace").split()
    for name in chosen:
        require_host_name(name.removeprefix("*."))
    if not chosen:
        raise usage_error("no NAMES, and control/me does not say the name of this host")
    given = {"http": http, "webroot": webroot, "alpn": alpn, "dns": dns}
    ways = [(way, str(value)) for way, value in given.items() if value is not None] or [("http", "80")]
    if len(ways) > 1:
        raise usage_error("choose one of --http, --webroot, --alpn, --dns")
    if dns == _UPDATES:
        if not (dns_server and os.path.isfile(dns_key)):
            raise usage_error("--dns rfc2136 needs --dns-server HOST and --dns-key FILE")
        ways = [(_UPDATES, f"{dns_server} {os.path.abspath(dns_key)}")]
    if any(name.startswith("*.") for name in chosen) and ways[0][0] not in ("dns", _UPDATES):
        raise usage_error("a wildcard is proved by --dns only")
    order = AcmeOrder(
        tuple(name.lower() for name in chosen),
        server or (STAGING if staging else LETS_ENCRYPT),
        email,
        *ways[0],
        kind,
        ca,
    )
    if change.preview_only:
        line = f"Would request a certificate for {', '.join(order.names)} from {order.server} by {order.challenge}."
        print_nothing_done(site.home, [line], change)
        return 0
    if not agree_tos and not (
        is_interactive() and confirm(f"Accept the terms of service of the authority {order.server}?")
    ):
        raise usage_error("the authority's terms of service have to be accepted: --agree-tos")
    execute(context, site, change, lambda filesystem: plan_certificate(site, filesystem, order, new_key, print_note))
    if not change.as_json:
        print_hint(("eqmail", "cert", "timer", "--install"))
    return 0


@click.command("timer")
@click.option("--install", is_flag=True, help="Write it, instead of printing it.")
@click.pass_context
def timer(context: click.Context, install: bool) -> int:
    """Renew the certificate twice a day, when it is time.

    By a systemd timer where systemd runs, else by a file for cron.

    \b
    Examples:
      eqmail cert timer
      eqmail cert timer --install
    """
    from eqmail_setup.periodic import RENEWAL, install_jobs, job_files

    files = job_files(require_installation(context), RENEWAL)
    for path, text in files.items():
        echo(f"# {path}\n{text.decode()}" if not install else f"Created {path}.")
    if install:
        install_jobs(files, RENEWAL)
    return 0
