"""The DKIM keys of domains: creation in pairs, rotation, and the records to publish.

A key is DOMAIN/SELECTOR.pem, readable for the remote service only, with its public record in SELECTOR.txt.
DOMAIN/states lists the signing keys; `eqmail_core.mail_auth.key_states` has the states. Time comes from the caller.

Fails: EqmailError for what cannot be done.
Source: RFC 6376 section 3.6.1; RFC 8463; M3AAWG DKIM Key Rotation Best Common Practices (docs/mail-authentication.md).
"""

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from eqmail_core.control.folders import DKIM_KEYS
from eqmail_core.mail_auth.dkim_key import (
    ED25519,
    RSA,
    InvalidKey,
    generate_private_key,
    private_pem,
    public_data,
    public_record,
)
from eqmail_core.mail_auth.key_states import (
    ACTIVE,
    NEW,
    RETIRING,
    STATES_FILE,
    KeyState,
    parse_states,
    render_states,
)
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, permission_required
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import OwnershipPolicy
from eqmail_setup.installation.manifest_nodes import PathKind
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.operations import CreateNode, RemoveFile, WriteFile
from eqmail_setup.transaction.plan import Change

OVERLAP_S = 7 * 86400
"""How long a key that signs no more stays published, in seconds: as long as mail may be on its way."""

_KINDS = ((RSA, "r"), (ED25519, "e"))
_PEM, _TXT = ".pem", ".txt"


class DomainKey(NamedTuple):
    """One key: its selector, its state, since when, and the text of its record, "" where that is unknown."""

    selector: str
    state: str
    since: int
    record: str

    def record_name(self, domain: str) -> str:
        """The name under which the record is published."""
        return f"{self.selector}._domainkey.{domain}"


def folder_of(site: Site, domain: str = "") -> str:
    """The folder of a domain's keys, or of all, relative to the home."""
    return f"{site.layout.control}/{DKIM_KEYS}" + (f"/{domain}" if domain else "")


def signing_domains(site: Site, filesystem: Filesystem) -> list[str]:
    """Every domain that has keys."""
    top = folder_of(site)
    return filesystem.listdir(top) if filesystem.stat(top) else []


def keys_of(site: Site, filesystem: Filesystem, domain: str) -> list[DomainKey]:
    """The keys of a domain in the order of its states; without that file, all that lie there, and active.

    Fails: EqmailError for a file of states that cannot be read.
    """
    folder = folder_of(site, domain)
    if filesystem.stat(folder) is None:
        return []
    names = filesystem.listdir(folder)
    found = []
    for state in _states(filesystem, folder, names):
        selector = state.selector.decode()
        text = filesystem.read(f"{folder}/{selector}{_TXT}").decode().strip() if f"{selector}{_TXT}" in names else ""
        found.append(DomainKey(selector, state.state.decode(), state.since, text))
    return found


def _states(filesystem: Filesystem, folder: str, names: list[str]) -> list[KeyState]:
    if STATES_FILE not in names:
        return [KeyState(name[: -len(_PEM)].encode(), ACTIVE, 0) for name in names if name.endswith(_PEM)]
    try:
        return parse_states(filesystem.read(f"{folder}/{STATES_FILE}"))
    except ValueError as error:
        raise EqmailError(f"{filesystem.display_path(folder)}/{STATES_FILE}: {error}") from error


def plan_generate(site: Site, filesystem: Filesystem, domain: str, now: float) -> list[Change]:
    """Actions after which a domain has two more keys, one of each kind.

    The first keys of a domain sign at once: until they are published their signatures count as none. Later ones wait
    for `plan_rotate`.
    """
    keys = keys_of(site, filesystem, domain)
    state = NEW if any(key.state == ACTIVE.decode() for key in keys) else ACTIVE
    folder, policy = folder_of(site, domain), OwnershipPolicy(site, caller())
    changes = [
        _change(filesystem, path, CreateNode(path, PathKind.DIRECTORY, policy("owner", 0o755)))
        for path in (folder_of(site), folder)
        if filesystem.stat(path) is None
    ]
    for kind, letter in _KINDS:
        selector = _free_selector(letter, now, {key.selector for key in keys})
        key = generate_private_key(kind)
        record = public_record(key).decode()
        pem, text = f"{folder}/{selector}{_PEM}", f"{folder}/{selector}{_TXT}"
        changes.append(_change(filesystem, pem, WriteFile(pem, private_pem(key), policy("qmailr", 0o400))))
        changes.append(_change(filesystem, text, WriteFile(text, f"{record}\n".encode(), policy("owner", 0o644))))
        keys.append(DomainKey(selector, state.decode(), int(now), record))
    return [*changes, _plan_states(site, filesystem, domain, keys)]


def _free_selector(letter: str, now: float, taken: set[str]) -> str:
    day = letter + time.strftime("%Y%m%d", time.gmtime(now))
    return next(name for name in (day, *(f"{day}-{number}" for number in range(2, 1000))) if name not in taken)


class Rotation(NamedTuple):
    """What a rotation does next: its actions, and in words what it waits for or what may be done by hand."""

    changes: list[Change]
    notes: list[str]


def plan_rotate(
    site: Site, filesystem: Filesystem, domain: str, now: float, published: Callable[[str], list[str]]
) -> Rotation:
    """Do the next step of putting new keys in place of those that sign.

    Without new keys some are made. When the DNS has the records of all new ones, these sign, and the others retire; a
    week later the retired ones are removed. `published(name)`: the TXT records of a name.
    """
    keys = keys_of(site, filesystem, domain)
    if not keys:
        raise EqmailError(f"{domain}: has no DKIM keys; make some: eqmail dkim generate {domain}")
    over = [key for key in keys if key.state == RETIRING.decode() and now - key.since >= OVERLAP_S]
    left = [key for key in keys if key not in over]
    changes = [change for key in over for change in _plan_removal(site, filesystem, domain, key)]
    notes = [f"{key.record_name(domain)}: signs no more; its record may go" for key in over]
    fresh = [key for key in left if key.state == NEW.decode()]
    if not fresh and any(key.state == RETIRING.decode() for key in left):
        notes.append(f"{domain}: the retired keys stay until a week is over")
    elif not fresh and not over:
        notes.append(f"{domain}: publish the new records (eqmail dkim record {domain}), then rotate again")
        return Rotation(plan_generate(site, filesystem, domain, now), notes)
    waiting = [key for key in fresh if not is_published(key, published(key.record_name(domain)))]
    notes += [f"{key.record_name(domain)}: not in the DNS yet" for key in waiting]
    if fresh and not waiting:
        left = [_promoted(key, int(now)) for key in left]
    if left != keys:
        changes.append(_plan_states(site, filesystem, domain, left))
    return Rotation(changes, notes)


def _promoted(key: DomainKey, now: int) -> DomainKey:
    """What a key becomes when the new ones are published."""
    if key.state == ACTIVE.decode():
        return key._replace(state=RETIRING.decode(), since=now)
    return key if key.state == RETIRING.decode() else key._replace(state=ACTIVE.decode(), since=now)


def is_published(key: DomainKey, texts: list[str]) -> bool:
    """Whether one of these TXT records is that of a key."""
    wanted = public_data(key.record.encode())
    return bool(wanted) and any(public_data(text.encode()) == wanted for text in texts)


def check_key(key: DomainKey, domain: str, query: Callable[[str], list[str]]) -> str:
    """The state of a key's record in the DNS: "ok", "missing" or "different"."""
    texts = query(key.record_name(domain))
    if not texts:
        return "missing"
    return "ok" if is_published(key, texts) else "different"


def records(site: Site, filesystem: Filesystem, domain: str) -> Iterator[tuple[str, str]]:
    """Name and text of every record to publish."""
    for key in keys_of(site, filesystem, domain):
        if key.record:
            yield key.record_name(domain), key.record


def _plan_states(site: Site, filesystem: Filesystem, domain: str, keys: list[DomainKey]) -> Change:
    path = f"{folder_of(site, domain)}/{STATES_FILE}"
    content = render_states([KeyState(key.selector.encode(), key.state.encode(), key.since) for key in keys])
    return _change(filesystem, path, WriteFile(path, content, OwnershipPolicy(site, caller())("owner", 0o644)))


def _plan_removal(site: Site, filesystem: Filesystem, domain: str, key: DomainKey) -> Iterator[Change]:
    for suffix in (_PEM, _TXT):
        path = f"{folder_of(site, domain)}/{key.selector}{suffix}"
        if filesystem.stat(path) is not None:
            yield _change(filesystem, path, RemoveFile(path))


def _change(filesystem: Filesystem, path: str, operation: CreateNode | WriteFile | RemoveFile) -> Change:
    return Change(filesystem.display_path(path), "", "", operation)


def sample_verdict(site: Site, domain: str, query: Callable[[str], list[str]], now: int) -> list[tuple[str, str]]:
    """Sign a message as the remote service would, and verify it with the records of the DNS; algorithm and result.

    Fails: EqmailError where the keys cannot be read.
    """
    from eqmail_core.dns.query import DnsAnswer
    from eqmail_core.mail_auth.canonical import RELAXED, BodyHashes
    from eqmail_core.mail_auth.dkim_sign import sign
    from eqmail_core.mail_auth.dkim_verify import DkimVerifier
    from eqmail_core.outcome import TemporaryFailure
    from eqmail_core.remote.signing_keys import SigningKeys

    try:
        keys = SigningKeys(site.control).keys_for(domain.encode())
    except (TemporaryFailure, InvalidKey) as error:
        if isinstance(error.__cause__, PermissionError):
            raise permission_required(f"the DKIM keys of {domain}: readable for root and the remote service") from error
        raise EqmailError(str(error)) from error
    fields = [f"From: postmaster@{domain}\n".encode(), b"Subject: a test of signatures\n"]
    body = BodyHashes([RELAXED])
    body.feed(b"A test.\n")
    signatures = sign(fields, body.finish()[RELAXED], keys, now)
    verifier = DkimVerifier([*signatures, *fields], now)
    verifier.feed(b"A test.\n")
    search = verifier.search()
    try:
        questions = next(search)
        answers = [DnsAnswer(texts=tuple(text.encode() for text in query(os.fsdecode(name)))) for _, name in questions]
        search.send(answers)
    except StopIteration:
        pass
    found = []
    for key, result in zip(keys, verifier.results, strict=True):
        why = f" ({result.reason.decode()})" if result.reason else ""
        found.append((key.selector.decode(), f"{result.result.decode()}{why}"))
    return found
