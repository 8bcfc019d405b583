"""The domains of an installation: delivered here, belonging to a local user, accepted from the network; kept together.

A domain that is delivered here must be accepted, and is either local or virtual. So a domain is one thing that
lies in two or three files, and they change in one run.

Fails: Refusal.
Source: control-files.md 2.2, 2.3; queue.md 3.8.
"""

import os
from collections.abc import Iterable
from typing import Any, NamedTuple

from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control, HostName
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.errors import EqmailError, not_found, usage_error
from eqmail_setup.mail.routing import text
from eqmail_setup.mail.virtual_domains import require_reachable
from eqmail_setup.network.hostnames import ascii_form
from eqmail_setup.settings.editor import content_of, plan_compile, plan_write, with_lines, without_lines
from eqmail_setup.transaction.filesystem import Filesystem
from eqmail_setup.transaction.plan import Change

CDB_THRESHOLD = 50
"""Domains in rcpthosts, above which further ones go into the database; see qmail-smtpd(8)."""


class Domain(NamedTuple):
    """One domain: "local", "virtual" or "accepted" only; `prefix` is that of a virtual one."""

    name: str
    kind: str
    prefix: str
    accepted: bool


def domains_of(site: Site, filesystem: Filesystem) -> list[Domain]:
    """Every domain of an installation, by name."""
    files = _DomainFiles(site, filesystem)
    accepts = files.accepts()
    found = {
        name: Domain(name, "accepted", "", True)
        for name in map(text, (*(files.entries(Controls.rcpthosts)), *files.entries(Controls.morercpthosts)))
    }
    for line in files.entries(Controls.virtualdomains):
        key, _, prefix = line.partition(b":")
        found[text(key)] = Domain(text(key), "virtual" if prefix else "remote", text(prefix), accepts(key))
    for name in files.locals():
        found[text(name)] = Domain(text(name), "local", "", accepts(name))
    return [found[name] for name in sorted(found)]


class _DomainFiles:
    """What the files say, and the new contents while they are made."""

    def __init__(self, site: Site, filesystem: Filesystem) -> None:
        self._site, self._filesystem = site, filesystem
        self.contents: dict[str, bytes | None] = {}

    def content(self, control: Control[Any]) -> bytes | None:
        if control.file not in self.contents:
            self.contents[control.file] = content_of(self._site, self._filesystem, control)
        return self.contents[control.file]

    def entries(self, control: Control[Any]) -> list[bytes]:
        return non_empty_lines(self.content(control) or b"")

    def locals(self) -> list[bytes]:
        """The local domains; without the file, the name of the host."""
        if self.content(Controls.locals) is not None:
            return self.entries(Controls.locals)
        me = read_controls(self._site).me
        return [me] if me else []

    def accepts(self) -> Any:
        listed_here = None if self.content(Controls.rcpthosts) is None else self.entries(Controls.rcpthosts)
        more = {line.lower() for line in self.entries(Controls.morercpthosts)}
        hosts = RcptHosts(listed_here, lambda names: names[0] in more)
        return lambda domain: hosts.accepts(b"x@" + domain)

    def changes(self) -> list[Change]:
        found: list[Change] = []
        for control in (Controls.locals, Controls.virtualdomains, Controls.rcpthosts, Controls.morercpthosts):
            made = self.contents.get(control.file)
            if made is not None:
                found += plan_write(self._site, self._filesystem, control, made)
        more = self.content(Controls.morercpthosts)
        if more is not None:
            found += plan_compile(self._site, self._filesystem, more)
        return found


def plan_add(
    site: Site, filesystem: Filesystem, name: str, prefix: str | None, many: bool, replace: bool
) -> list[Change]:
    """Actions after which mail for a domain is accepted and delivered here, or to a local user.

    Fails: Refusal, unless `replace`, where the domain is delivered another way.
    """
    domain = require_domain(name, prefix is not None)
    files = _DomainFiles(site, filesystem)
    _require_unused(site, files, domain, prefix, replace)
    if prefix is None:
        files.contents[Controls.virtualdomains.file] = _without_key(files, domain)
        files.contents[Controls.locals.file] = with_lines(_listing(files.locals(), files, Controls.locals), [domain])
    else:
        line = domain + b":" + _require_prefix(prefix)
        require_reachable(site, _require_prefix(prefix))
        if line not in files.entries(Controls.virtualdomains):
            files.contents[Controls.virtualdomains.file] = with_lines(_without_key(files, domain), [line])
        if domain in [entry.lower() for entry in files.locals()]:
            left = without_lines(
                _listing(files.locals(), files, Controls.locals), lambda entry: entry.lower() == domain
            )
            files.contents[Controls.locals.file] = left
    _accept(files, domain, many)
    return files.changes()


def plan_remove(site: Site, filesystem: Filesystem, name: str) -> list[Change]:
    """Actions after which a domain is neither delivered here nor accepted."""
    domain = require_domain(name, True)
    files = _DomainFiles(site, filesystem)
    if files.content(Controls.locals) is None and domain in files.locals():
        me = Controls.me.file
        raise EqmailError(f"{name} is local because {site.control}/{me} names it; list other local domains first")
    for control in (Controls.locals, Controls.rcpthosts, Controls.morercpthosts):
        left = without_lines(files.content(control), lambda entry: entry.lower() == domain)
        files.contents[control.file] = left
    files.contents[Controls.virtualdomains.file] = _without_key(files, domain)
    changes = files.changes()
    if not changes:
        raise not_found(f"domain {name}", ("eqmail", "domain", "list"))
    return changes


def _accept(files: _DomainFiles, domain: bytes, many: bool) -> None:
    rcpthosts = files.content(Controls.rcpthosts)
    if rcpthosts is None:
        # Creating the file ends relaying for all clients, so it must list everything that is delivered here.
        virtual = [line.partition(b":")[0] for line in files.entries(Controls.virtualdomains)]
        files.contents[Controls.rcpthosts.file] = with_lines(None, [*files.locals(), *virtual, domain])
        return
    if files.accepts()(domain):
        return
    plenty = (
        files.content(Controls.morercpthosts) is not None and len(files.entries(Controls.rcpthosts)) >= CDB_THRESHOLD
    )
    control: Control[Any] = Controls.rcpthosts
    if (many or plenty) and not domain.startswith(b"."):
        control = Controls.morercpthosts
    files.contents[control.file] = with_lines(files.content(control), [domain])


def _require_unused(site: Site, files: _DomainFiles, domain: bytes, prefix: str | None, replace: bool) -> None:
    if replace:
        return
    for line in files.entries(Controls.virtualdomains):
        key, _, other = line.partition(b":")
        if key.lower() == domain and (prefix is None or os.fsencode(prefix) != other):
            where = f"{site.control}/{Controls.virtualdomains.file}"
            raise EqmailError(f"{where}: {text(domain)} belongs to {text(other) or 'nobody'}; --replace changes that")
    if prefix is not None and domain in [entry.lower() for entry in files.locals()]:
        where = f"{site.control}/{Controls.locals.file}"
        raise EqmailError(f"{where}: {text(domain)} is local; --replace makes it virtual")


def _listing(names: Iterable[bytes], files: _DomainFiles, control: Control[Any]) -> bytes:
    """The content of a list; for a missing file, the value that its absence means."""
    content = files.content(control)
    return with_lines(None, names) if content is None else content


def _without_key(files: _DomainFiles, domain: bytes) -> bytes | None:
    content = files.content(Controls.virtualdomains)
    return without_lines(content, lambda entry: entry.partition(b":")[0].lower() == domain)


def require_domain(name: str, wildcard: bool) -> bytes:
    """The bytes of a domain; with `wildcard`, .DOMAIN counts too.  Fails: EqmailError (usage)."""
    domain = os.fsencode(name).lower().rstrip(b".")
    bare = domain.removeprefix(b".") if wildcard else domain
    if HostName("", default=b"").parse(bare + b"\n")[1] or bare.startswith(b".") or b".." in bare:
        more = "; .DOMAIN is for virtual domains only" if name.startswith(".") and not wildcard else ""
        raise usage_error(f"{name!r} is not a domain; give {ascii_form(name) or 'one such as example.org'}{more}")
    return domain


def _require_prefix(prefix: str) -> bytes:
    if not prefix or any(sign in "@:/" or sign.isspace() for sign in prefix):
        raise usage_error(f"--virtual {prefix!r}: give the name of the user whose the domain is, such as joe")
    return os.fsencode(prefix)
