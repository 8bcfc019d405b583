"""users/smtpauth: who may log in to send or fetch mail, as qmail-chkpw reads it; a line LOGIN:SECRET each.

A secret is a crypt string, stored SCRAM keys, or clear text, which the digests of CRAM-MD5 and APOP need. Comments and
the order of lines stay.

Fails: Refusal.
Source: programs.md 1.6.
"""

from collections.abc import Iterator
from typing import NamedTuple

from eqmail_core.auth.crypt import crypted, new_setting
from eqmail_core.auth.secrets_file import FILE, SCRAM, entries, is_crypt_string
from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError, not_found, usage_error
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.manifest import server_secret_permissions
from eqmail_setup.mail.routing import text
from eqmail_setup.transaction.filesystem import Filesystem, snapshot
from eqmail_setup.transaction.operations import WriteFile
from eqmail_setup.transaction.plan import Change

SCHEMES = {"yescrypt": b"$y$", "sha512-crypt": b"$6$", "scram-sha-256": SCRAM, "clear": b""}
"""How a password can be kept, with the setting of crypt(3) that begins such secrets."""

_HEAD = b"# Who may log in, LOGIN:SECRET; eqmail auth set writes it. The SMTP server alone may read it.\n"
_METHODS = {"y": "yescrypt", "6": "sha512-crypt", "5": "sha256-crypt", "1": "md5-crypt", "2b": "bcrypt"}


class Credential(NamedTuple):
    """One login and how its secret is kept."""

    login: str
    method: str


def path_in(site: Site) -> str:
    """The file, relative to the home."""
    return f"{site.layout.users}/{FILE}"


def credentials_in(site: Site, filesystem: Filesystem) -> list[Credential]:
    """Every login that counts: the first line of each."""
    found: dict[bytes, bytes] = {}
    for login, secret in entries(_content(site, filesystem)):
        found.setdefault(login, secret)
    return [Credential(text(login), _method(secret)) for login, secret in found.items()]


def _method(secret: bytes) -> str:
    if not is_crypt_string(secret):
        return "clear or an old crypt string"
    if secret.startswith(SCRAM):
        return "scram-sha-256"
    name = text(secret.split(b"$")[1])
    return _METHODS.get(name, name)


def hashed(password: bytes, scheme: str) -> bytes:
    """The secret that stands for a password.

    Fails: Refusal for a password that cannot be one, and where this system does not know the scheme.
    """
    if not password or any(byte in b"\0\n\r" for byte in password):
        raise usage_error("a password has one line and is not empty")
    method = SCHEMES[scheme]
    if not method:
        if is_crypt_string(password):
            raise usage_error("a password that looks like a crypt string cannot be kept in clear text")
        return password
    made = crypted(password, new_setting(method))
    if made is None or not made.startswith(method):
        raise EqmailError(f"crypt(3) of this system does not know {scheme}; choose another --scheme")
    return made


def require_valid_secret(secret: bytes) -> None:
    """Refuse a hash that this host cannot verify.

    Fails: Refusal (wrong usage).
    """
    if not is_crypt_string(secret) or any(byte <= 32 or byte >= 127 for byte in secret):
        raise usage_error("--hash: is no crypt string such as $y$... or $argon2id$...; --stdin takes a password")
    if crypted(b"", secret) is None:
        raise usage_error(
            f"--hash: this host cannot verify hashes of the kind {_method(secret)}; --stdin takes a password"
        )


def plan_set_credential(site: Site, filesystem: Filesystem, login: str, secret: bytes) -> list[Change]:
    """Actions after which this secret, and no other, is that of a login."""
    name = _name(login)
    line = name + b":" + secret
    made, done = [], False
    for old in _content(site, filesystem).split(b"\n"):
        if not _belongs_to(old, name):
            made.append(old)
        elif not done:
            made.append(line)
            done = True
    if not done:
        last = made.pop() if made and not made[-1] else b""
        made += [line, last]
    return list(_plan_write(site, filesystem, b"\n".join(made)))


def plan_set_all(site: Site, filesystem: Filesystem, secrets: dict[str, bytes], removed: set[str]) -> list[Change]:
    """What has to be done so that these logins have these secrets and those are gone; all others stay."""
    if not secrets and not removed:
        return []
    gone = {_name(login) for login in removed}
    wanted = {_name(login): secret for login, secret in secrets.items()}
    made, done = [], set()
    for line in _content(site, filesystem).split(b"\n"):
        name = next((login for login, _ in entries(line)), b"")
        if name in gone or name in done:
            continue
        if name in wanted:
            done.add(name)
            line = name + b":" + wanted[name]
        made.append(line)
    last = made.pop() if made and not made[-1] else b""
    made += [name + b":" + secret for name, secret in wanted.items() if name not in done]
    return list(_plan_write(site, filesystem, b"\n".join([*made, last])))


def plan_remove(site: Site, filesystem: Filesystem, login: str) -> list[Change]:
    """Actions after which a login can no longer be used."""
    name = _name(login)
    lines = _content(site, filesystem).split(b"\n")
    kept = [line for line in lines if not _belongs_to(line, name)]
    if kept == lines:
        raise not_found(f"login {login}", ("eqmail", "auth", "list"))
    return list(_plan_write(site, filesystem, b"\n".join(kept)))


def plan_secrets_file(site: Site, filesystem: Filesystem) -> list[Change]:
    """Actions after which the file exists, readable for the server only; its content stays."""
    state = snapshot(path_in(site), filesystem)
    return list(_plan_write(site, filesystem, _HEAD)) if state is None else []


def _content(site: Site, filesystem: Filesystem) -> bytes:
    state = snapshot(path_in(site), filesystem)
    return _HEAD if state is None else state.content


def _name(login: str) -> bytes:
    name = login.encode("utf-8", "surrogateescape")
    if not name or name.startswith(b"#") or b":" in name or any(byte <= 32 or byte == 127 for byte in name):
        raise usage_error(f"{login!r} is no login: it has no colon and no white space, and does not begin with #")
    return name


def _belongs_to(line: bytes, name: bytes) -> bool:
    return any(login == name for login, _ in entries(line))


def _plan_write(site: Site, filesystem: Filesystem, content: bytes) -> Iterator[Change]:
    """The file with this content, unreadable for others whatever its mode was before."""
    path = path_in(site)
    state, permissions = snapshot(path, filesystem), server_secret_permissions(site, caller())
    if state is None or state.content != content or state.permissions.mode & 0o077:
        found = "missing" if state is None else "other logins"
        yield Change(filesystem.display_path(path), found, "these", WriteFile(path, content, permissions))
