"""Obtains and renews the certificate of the SMTP server through ACME, and puts it in place.

A renewal that fails is tried again after growing pauses; the third failure in a row is mailed to postmaster.

Fails: EqmailError.
"""

import random
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

from eqmail_core.site.site import Site
from eqmail_setup.acme.account import AcmeOrder, Failures, read_failures, read_order, write_failures, write_order
from eqmail_setup.acme.request import renewal_due, request_certificate
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.certificates import Key, installing, key_in, new_key, path_in, read
from eqmail_setup.mail.tlsa_rollover import forget_next_key, next_key
from eqmail_setup.network.dns import query
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.plan import Change

FIRST_PAUSE_S, LONGEST_PAUSE_S = 3600.0, 86400.0
NOTICE_AFTER = 3


def plan_certificate(
    site: Site,
    filesystem: Filesystem,
    order: AcmeOrder,
    changes_key: bool,
    on_step: Callable[[str], object],
    is_forced: bool = False,
) -> list[Change]:
    """Request a certificate; the actions that put it in place.

    The key of the one that is there stays, unless `changes_key`; see `tlsa_rollover.next_key`.
    """
    key = _key(site, filesystem, order, changes_key, is_forced)
    chain = request_certificate(site, order, key, on_step)
    write_order(site, order)
    forget_next_key(site)
    return installing(site, filesystem, chain, _pem(key), datetime.now(UTC))


def plan_acme_renewal(
    site: Site, filesystem: Filesystem, is_forced: bool, changes_key: bool, on_step: Callable[[str], object]
) -> list[Change]:
    """Renew if it is time; no actions otherwise.  Failures are kept, and hold up the next attempt."""
    order = read_order(site)
    assert order is not None
    state, now, before = snapshot(path_in(site), filesystem), datetime.now(UTC), read_failures(site)
    if not is_forced:
        if before.retry_at > now.timestamp():
            return []
        if state is not None and not renewal_due(site, order, state.content, now):
            return []
    try:
        planned = plan_certificate(site, filesystem, order, changes_key, on_step, is_forced)
    except EqmailError as error:
        failures = after_failure(before, now.timestamp(), error.text, random.random())
        write_failures(site, failures)
        if failures.in_a_row == NOTICE_AFTER:
            _notify(site, order, error.text)
        raise
    write_failures(site, Failures(0, 0.0, ""))
    return planned


def after_failure(before: Failures, now: float, text: str, jitter: float) -> Failures:
    """Return the failures after one more; `jitter`: from 0 to 1."""
    pause = min(FIRST_PAUSE_S * 2**before.in_a_row, LONGEST_PAUSE_S)
    return Failures(before.in_a_row + 1, now + pause * (0.75 + jitter / 4), text)


def _key(site: Site, filesystem: Filesystem, order: AcmeOrder, changes_key: bool, is_forced: bool) -> Key:
    state = snapshot(path_in(site), filesystem)
    if state is None:
        return new_key(order.key_kind)
    if changes_key:
        return next_key(site, order.names[0], order.key_kind, _tlsa_in(state.content), query, is_forced)
    try:
        return key_in(state.content)
    except (ValueError, TypeError):
        return new_key(order.key_kind)


def _tlsa_in(pem: bytes) -> str:
    try:
        return read(pem).tlsa
    except ValueError:
        return ""


def _pem(key: Key) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _notify(site: Site, order: AcmeOrder, text: str) -> None:
    """Mail postmaster; a notice that cannot be sent is no reason to fail otherwise."""
    message = (
        f"To: postmaster\nSubject: The certificate of {order.names[0]} cannot be renewed\n\n"
        f"eqmail cert renew failed {NOTICE_AFTER} times in a row. The last time:\n\n{text}\n\n"
        "It is tried again. To see it now: eqmail cert renew --force\n"
    )
    try:
        subprocess.run(
            [f"{site.bin}/qmail-inject", "-a", "postmaster"], input=message.encode(), timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        pass
