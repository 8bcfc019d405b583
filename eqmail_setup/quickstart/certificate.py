"""The certificate of an authority for a new server: obtained once its services run, and renewed from then on.

What fails leaves the self-signed certificate in use.

Fails: EqmailError.
"""

from collections.abc import Callable

from eqmail_core.site.site import Site
from eqmail_setup.acme.account import LETS_ENCRYPT, STAGING, AcmeOrder
from eqmail_setup.errors import EqmailError
from eqmail_setup.periodic import RENEWAL, install_jobs, job_files
from eqmail_setup.transaction.transaction import begin_transaction

SELF_SIGNED = "self-signed"
AUTHORITIES = {"letsencrypt": LETS_ENCRYPT, "letsencrypt-staging": STAGING}
HTTP_PORT = 80


def order_of(name: str, authority: str) -> AcmeOrder | None:
    """Return what to ask which authority for; None for a self-signed certificate."""
    if authority == SELF_SIGNED:
        return None
    return AcmeOrder((name,), AUTHORITIES[authority], "", "http", str(HTTP_PORT), "ecdsa")


def obtain_certificate(site: Site, order: AcmeOrder, words: str, on_step: Callable[[str], None]) -> int:
    """Obtain a certificate and put it in place; return the number of the transaction."""
    try:
        from eqmail_setup.acme.renewal import plan_certificate
    except ImportError as error:
        raise EqmailError(f"a library is missing: {error}", hint=("pip", "install", "eqmail[acme]")) from error
    with begin_transaction(site.home, words, on_step) as run:
        run.apply(plan_certificate(site, run.filesystem, order, False, on_step), lambda _: None)
        return run.number


def renew_regularly(site: Site) -> None:
    """Have it renewed twice a day, when it is time."""
    install_jobs(job_files(site, RENEWAL), RENEWAL)
