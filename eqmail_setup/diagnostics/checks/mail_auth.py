"""What the doctor asks of DKIM keys: who can read them, whether they can sign, and whether the DNS has their records.

Fails: never; what cannot be read is a finding.
"""

import os
import pwd
import stat
from collections.abc import Iterator

from eqmail_core.site.site import Site
from eqmail_setup.diagnostics.finding import ERROR, WARNING, Finding
from eqmail_setup.errors import EqmailError
from eqmail_setup.mail.dkim import check_key, folder_of, keys_of, signing_domains
from eqmail_setup.network.dns import DnsLookupFailed, query
from eqmail_setup.transaction.disk_filesystem import DiskFilesystem

_OF_OTHERS = stat.S_IRGRP | stat.S_IROTH


def check_keys(site: Site) -> Iterator[Finding]:
    """Whether the remote service, and nobody else, can read every key that signs."""
    filesystem = DiskFilesystem(site.home)
    for domain in signing_domains(site, filesystem):
        folder = f"{site.home}/{folder_of(site, domain)}"
        try:
            keys = keys_of(site, filesystem, domain)
        except EqmailError as error:
            remedy = "correct the line; until then mail of the domain waits in the queue"
            yield Finding("dkim.states", ERROR, error.text, remedy)
            continue
        for key in keys:
            yield from _check_file(site, f"{folder}/{key.selector}.pem", key.state)
        if keys and not any(key.state == "active" for key in keys):
            yield Finding("dkim.none-active", WARNING, f"{folder}: no key signs", ("eqmail", "dkim", "rotate", domain))


def _check_file(site: Site, path: str, state: str) -> Iterator[Finding]:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if state == "active":
            remedy = "put the key there, or take its line out of the file states; until then mail waits in the queue"
            yield Finding("dkim.missing", ERROR, f"{path}: missing", remedy)
        return
    if found.st_mode & _OF_OTHERS:
        yield Finding("dkim.readable", ERROR, f"{path}: others can read the private key", ("chmod", "0400", path))
    if site.single_user or not found.st_mode & stat.S_IRUSR:
        return
    account = site.accounts.user("qmailr")
    try:
        owner = pwd.getpwnam(account).pw_uid
    except KeyError:
        return  # a finding of another check
    if found.st_uid != owner:
        fact = f"{path}: the remote service cannot read it, so mail of the domain waits in the queue"
        yield Finding("dkim.owner", ERROR, fact, ("chown", account, path))


def check_records(site: Site) -> Iterator[Finding]:
    """Whether the DNS has the records of the keys that sign."""
    filesystem = DiskFilesystem(site.home)
    for domain in signing_domains(site, filesystem):
        try:
            keys = keys_of(site, filesystem, domain)
        except EqmailError:
            continue  # told by `check_keys`
        for key in keys:
            if key.state != "active" or not key.record:
                continue
            try:
                state = check_key(key, domain, lambda name: query(name, "TXT"))
            except DnsLookupFailed as silence:
                yield Finding("dns.unanswered", WARNING, silence.text, "check the name servers in /etc/resolv.conf")
                return
            if state != "ok":
                fact = f"{key.record_name(domain)}: the record of a key that signs is {state} in the DNS"
                yield Finding("dns.dkim", WARNING, fact, ("eqmail", "dkim", "record", domain))
