"""Ways that still lead to the programs of another qmail on this host, into a queue where nothing runs any more.

Mail injected there is accepted with exit code 0 and never delivered. A qmail whose scheduler runs is not reported.

Fails: never; what cannot be read is passed over.
"""

import os
import pwd
import re
import shlex
import stat
from collections.abc import Iterable, Iterator
from glob import escape, glob

from eqmail_core.site.site import Site
from eqmail_core.system.files import read_upto
from eqmail_setup.diagnostics.checks import start_scripts
from eqmail_setup.diagnostics.checks.start_scripts import script_texts
from eqmail_setup.diagnostics.finding import ERROR, NOTE, WARNING, Finding
from eqmail_setup.errors import EqmailError
from eqmail_setup.installation.detection import detect_installation
from eqmail_setup.migration.source import runs
from eqmail_setup.transaction.history import History

LINKS = (
    "/usr/sbin/sendmail",
    "/usr/lib/sendmail",
    "/usr/bin/sendmail",
    "/usr/local/sbin/sendmail",
    "/usr/local/bin/sendmail",
    "/etc/alternatives/mta",
    "/usr/sbin/qmail-inject",
    "/usr/bin/qmail-inject",
    "/usr/local/bin/qmail-inject",
)
"""Under which names other software injects mail."""

USUAL_HOMES = ("/var/qmail",)
"""Homes whose paths are written into other software, whether links lead there or not."""

OTHER_SCRIPTS = ("/etc/crontab", "/etc/cron.d/*", "/etc/cron.*/*", "/etc/php*/*/*/php.ini", "/etc/mail.rc")
"""What names programs that inject mail, beside the scripts that start services."""

_MOST_ACCOUNTS, _MOST_FILES, _LONGEST = 1000, 100, 65536


def old_ways(site: Site, homes: Iterable[str] = (), with_accounts: bool = True) -> Iterator[Finding]:
    """Links, start scripts and delivery instructions that lead to qmails where nothing runs.

    Looked for are `homes`, those that were imported, the usual ones, and where a link leads.  `with_accounts`: also in
    the .qmail files of all accounts, which may lie on the disks of others.
    """
    ours = {os.path.realpath(site.home), os.path.realpath(f"{site.bin}/..")}
    named = [*homes, *_imported(site), *USUAL_HOMES]
    linked = [(link, home) for link in LINKS if (home := _home_behind(link))]
    candidates = dict.fromkeys([*named, *(home for _, home in linked)])
    dead = [home for home in candidates if os.path.realpath(home) not in ours and _is_dead(home)]
    real = {os.path.realpath(home) for home in dead}
    for link, home in linked:
        if os.path.realpath(home) in real:
            fact = f"{link}: leads to {os.path.realpath(link)}, into the queue of {home}, where nothing runs"
            program = f"{site.bin}/{os.path.basename(link) if os.path.basename(link) != 'mta' else 'sendmail'}"
            yield Finding("programs.link", ERROR, fact, ("ln", "-sf", program, link))
    for home in dead:
        yield from _texts(site, home, with_accounts)
        if not any(os.path.realpath(other) == os.path.realpath(home) for _, other in linked) and home in USUAL_HOMES:
            fact = f"{home}/bin: its programs put mail into a queue where nothing runs, and other software names them"
            remedy = f"move it away, then: ln -s {shlex.quote(site.bin)} {shlex.quote(home)}/bin"
            yield Finding("programs.home", WARNING, fact, remedy)


def check_mailer(site: Site, links: Iterable[str] | None = None) -> Iterator[Finding]:
    """Whether the program that cron, PHP and others send mail with is there, and is ours.

    `links`: its name, the usual one by default.  A single-user installation is not the mailer of its host.
    """
    link = next(iter(LINKS if links is None else links), "")
    if site.single_user or not link:
        return
    ours = f"{site.bin}/sendmail"
    if not os.path.exists(link):
        fact = f"{link}: missing, so cron, PHP and other programs cannot send mail"
        yield Finding("programs.sendmail", WARNING, fact, ("ln", "-sf", ours, link))
    elif not _home_behind(link) and os.path.realpath(link) != os.path.realpath(ours):
        fact = f"{link}: leads to {os.path.realpath(link)}, so programs of this host send mail by another server"
        yield Finding("programs.sendmail", NOTE, fact, f"if that is not meant: ln -sf {shlex.quote(ours)} {link}")


def _texts(site: Site, home: str, with_accounts: bool) -> Iterator[Finding]:
    named = re.compile(re.escape(os.fsencode(home)) + rb"/bin/[\w.-]+")
    for path, text in script_texts(site, (*start_scripts.PLACES, *OTHER_SCRIPTS)):
        found = named.search(text)
        if found:
            fact = f"{path}: names {found[0].decode('latin-1')}, of a qmail where nothing runs"
            yield Finding("programs.script", WARNING, fact, f"name the programs in {site.bin}")
    for path, text in _instructions(site, with_accounts):
        found = named.search(text)
        if found:
            fact = f"{path}: runs {found[0].decode('latin-1')}, of a qmail where nothing runs"
            yield Finding("programs.instruction", WARNING, fact, f"name the program in {site.bin}")


def _imported(site: Site) -> Iterator[str]:
    """Homes that were imported here, by the history."""
    try:
        commands = [shlex.split(run.command) for run in History(site.home).records()]
    except (OSError, ValueError, EqmailError):
        return
    for words in commands:
        if "import" in words:
            yield from (word for word in words[words.index("import") :] if word.startswith("/"))


def _home_behind(link: str) -> str:
    """The home of the qmail that this program belongs to; "" for any other program."""
    folder = os.path.dirname(os.path.realpath(link))
    is_there = os.path.exists(link) and os.path.exists(f"{folder}/qmail-queue")
    return os.path.dirname(folder) if is_there and os.path.basename(folder) == "bin" else ""


def _is_dead(home: str) -> bool:
    """Whether a qmail is there whose scheduler does not run."""
    try:
        other = detect_installation(home)
        return other is not None and os.path.exists(f"{home}/bin/qmail-queue") and not runs(other)
    except OSError:
        return False


def _instructions(site: Site, with_accounts: bool) -> Iterator[tuple[str, bytes]]:
    """Path and text of .qmail files, of the aliases and of accounts; links are not followed."""
    folders = [site.alias]
    if with_accounts and not site.single_user:
        folders += [account.pw_dir for account in pwd.getpwall()[:_MOST_ACCOUNTS]]
    for folder in dict.fromkeys(folders):
        for path in sorted(glob(f"{escape(folder)}/.qmail*"))[:_MOST_FILES]:
            text = _read(path)
            if text:
                yield path, text


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return read_upto(fd, _LONGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)
