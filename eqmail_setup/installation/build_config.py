"""The choices of one installation: from options, conf-* files or a conf-build file, and what was chosen before.

A value given now has precedence over the one stored in the home; a value never given has its default. The files are
read, never run.

Fails: Refusal (wrong usage) for an invalid value, with the file and the remedy.
Source: control-files.md 2.8.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from eqmail_core.control.kinds import MAX_CONCURRENT
from eqmail_core.site.accounts import GROUPS, ROLES, USERS, Accounts
from eqmail_core.site.layout import DEFAULT_HOME, EQMAIL_111, LAYOUTS, NETQMAIL, Layout
from eqmail_core.site.site import DEFAULT_BREAK, Site
from eqmail_core.site.site_file import DIRECTORY, SITE_FILE, parse_queue_place, parse_site
from eqmail_core.system.files import read_file
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.trust import doubt_about

CONF_BUILD = "conf-build"
# A conf-build file comes with a layout of its own, which counts where nothing is installed yet.
_NEW_LAYOUT = "layout of a new installation"


class ConfFile(NamedTuple):
    """One conf-* file: the choice that it makes, its variables in a conf-build file, and its manual."""

    key: str
    file: str
    variables: tuple[str, ...]
    default: str
    manual: str


CONF_FILES = (
    ConfFile("home", "conf-qmail", ("PKGDIR",), DEFAULT_HOME, "The home: where everything of the installation lies."),
    ConfFile("break", "conf-break", ("BREAK",), "+", "The character between a user and an extension; empty for none."),
    ConfFile("split", "conf-split", ("SPLIT",), "23", "How many directories share the files of the queue; a prime."),
    ConfFile("spawn", "conf-spawn", ("SPAWN",), "120", "Most deliveries at a time on each channel, 1 to 255."),
    ConfFile(
        "patrn", "conf-patrn", ("PATRN",), "002", "Mode bits, in octal, that a home or a .qmail file must not have."
    ),
    ConfFile(
        "users",
        "conf-users",
        ("USRA", "USRD", "USRL", "USRM", "USRP", "USRQ", "USRR", "USRS"),
        " ".join(USERS),
        "The accounts, one a line: aliases, SMTP service, log, owner of programs, look-up, queue, remote, scheduler.",
    ),
    ConfFile(
        "groups",
        "conf-groups",
        ("GRPS", "GRPP"),
        " ".join(GROUPS),
        "The group of the queue, then that of the rest.",
    ),
    ConfFile(
        "queue",
        "conf-queue",
        ("QUEUE",),
        DIRECTORY,
        "Where the queue is: directory, or postgresql: and libpq's words for the database that several nodes share.",
    ),
)
"""What can be chosen before setup; the one home of these names."""

QUEUE_FORM = "directory, or postgresql:host=DB dbname=eqmail user=qmailq passfile=FILE, without a password"

_ACCOUNT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?")
_ASSIGNMENT = re.compile(r"\s*([A-Z0-9_]+)=(.*)")


class BuildOption(NamedTuple):
    """One value as it was written, and where."""

    text: str
    origin: str


BuildOptions = dict[str, BuildOption]


def read_conf_files(folder: str) -> BuildOptions:
    """The choices in the conf-* files (or the conf-build file) of a folder that was named.

    Fails: Refusal for a folder that has none of them.
    """
    found = _conf_files(folder) or _conf_build(folder)
    if not found:
        raise usage_error(
            f"{folder}: holds no conf-qmail, conf-split ... and no conf-build; name the folder that has them"
        )
    return found


def choices_around() -> tuple[BuildOptions, str]:
    """The choices in the current folder, and why they must not be used; "" where only the caller can have made them.

    Any account that can write there could choose home, accounts and programs for root, whose current folder it is.
    """
    if not os.access(".", os.X_OK):
        return {}, ""  # after a change of user, the current folder may be unreadable
    found = _conf_files(".") or _conf_build(".")
    names = [conf.file for conf in CONF_FILES] + [CONF_BUILD]
    for name in [".", *names] if found else ():
        doubt = doubt_about(name)
        if doubt:
            return found, doubt if name == "." else f"{name} {doubt}"
    return found, ""


def resolve_home(home: str | None, options: BuildOptions, environ: Mapping[str, str]) -> str:
    """The home: the option, else EQMAIL_HOME, else what the files say, else /var/qmail; always absolute."""
    chosen = options.get("home")
    path = home or environ.get("EQMAIL_HOME") or (chosen.text if chosen else "") or DEFAULT_HOME
    if "\n" in path or "\0" in path:
        raise usage_error("the home must not contain a newline")
    return os.path.abspath(path)


def load_site(home: str, root: str = "") -> Site | None:
    """What was chosen when the installation was set up; None where setup has not run yet.

    Fails: Refusal when the file that stores it is invalid.
    """
    path = f"{root.rstrip('/')}{home}/{SITE_FILE}"
    try:
        text = read_file(path)
        return None if text is None else parse_site(home, text)
    except (ValueError, OverflowError) as error:
        raise EqmailError(
            f"{path}: is damaged; restore it, or remove it and run setup with the right choices"
        ) from error
    except NotADirectoryError as error:
        raise usage_error(f"{home}: is not a directory; choose another home") from error


def resolve_build_config(home: str, options: BuildOptions, saved: Site | None) -> Site:
    """The site that these choices make of what was kept."""
    site = saved or Site(home=home)
    if saved is None and _NEW_LAYOUT in options:
        options = {"layout": options[_NEW_LAYOUT]} | options
    layout = _value_of(options, "layout", LAYOUTS.__getitem__, site.layout, f"one of {', '.join(LAYOUTS)}")
    break_char = site.break_char if saved else default_delimiter(layout)
    return Site(
        home=home,
        layout=layout,
        accounts=Accounts(
            _value_of(options, "users", _names(len(ROLES)), tuple(site.accounts.users.values()), "eight account names"),
            _value_of(options, "groups", _names(2), site.accounts.groups, "two group names"),
        ),
        break_char=_value_of(options, "break", _break_char, break_char, "one character, or empty for none"),
        split=_value_of(options, "split", _number(1, 9973), site.split, "a number from 1 to 9973, best a prime"),
        spawn=_value_of(options, "spawn", _number(1, MAX_CONCURRENT), site.spawn, "a number from 1 to 255"),
        patrn=_value_of(options, "patrn", _octal, site.patrn, "mode bits in octal, such as 002"),
        queue_database=_value_of(options, "queue", parse_queue, site.queue_database, QUEUE_FORM),
        single_user=_value_of(options, "single-user", lambda text: text == "yes", site.single_user, "yes or no"),
    )


def parse_queue(text: str) -> str:
    """How libpq connects to the database of a queue, "" for a queue in the directory.

    A password is refused: the choices of a site are readable by all; libpq takes it from a file (`passfile`).
    Fails: ValueError.
    """
    conninfo = parse_queue_place(text)
    if re.search(r"\bpassword\s*=|://[^/@]*:[^/@]*@", conninfo):
        raise ValueError("a password")
    return conninfo


def default_delimiter(layout: Layout) -> bytes:
    """The default delimiter of a mail system of this layout."""
    return b"-" if layout is NETQMAIL else DEFAULT_BREAK


T = TypeVar("T")


def _value_of(options: BuildOptions, key: str, parse: Callable[[str], T], default: T, expected: str) -> T:
    option = options.get(key)
    if option is None:
        return default
    try:
        return parse(option.text)
    except (ValueError, KeyError):
        raise usage_error(f"{option.origin}: {option.text!r} is not valid; write {expected}") from None


def _conf_files(folder: str) -> BuildOptions:
    """The conf-* files: the first line is the value; conf-users and conf-groups have one name a line."""
    found: BuildOptions = {}
    for conf in CONF_FILES:
        path = os.path.join(folder, conf.file)
        lines = _lines(path)
        if lines is not None:
            found[conf.key] = BuildOption(" ".join(lines[: len(conf.variables)]), path)
    return found


def _conf_build(folder: str) -> BuildOptions:
    """The shell variables of a conf-build file; what needs a shell to know its value is left alone or refused."""
    path = os.path.join(folder, CONF_BUILD)
    values: dict[str, str] = {}
    for line in _lines(path) or []:
        match = _ASSIGNMENT.fullmatch(line)
        if match:
            try:
                words = shlex.split(match[2], comments=True)
            except ValueError:
                raise usage_error(f"{path}: cannot read {line.strip()!r}; close the quotation") from None
            values[match[1]] = words[0] if words else ""
    if not values:
        return {}
    found: BuildOptions = {_NEW_LAYOUT: BuildOption(EQMAIL_111.name, path)}
    for conf in CONF_FILES:
        if all(name in values for name in conf.variables):
            text = " ".join(values[name] for name in conf.variables)
            found[conf.key] = BuildOption(text, f"{path}: {' '.join(conf.variables)}")
    for option in found.values():
        if "$" in option.text or "`" in option.text:
            raise usage_error(f"{option.origin}: {option.text!r} needs a shell; write the value itself")
    return found


def _lines(path: str) -> list[str] | None:
    try:
        text = read_file(path)
    except (NotADirectoryError, IsADirectoryError):
        return None
    return None if text is None else [line.rstrip(" \t\r") for line in text.decode("utf-8", "replace").splitlines()]


def _names(count: int) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(text.split())
        if len(names) != count or len(set(names)) != count or not all(_ACCOUNT.fullmatch(name) for name in names):
            raise ValueError(text)
        return names

    return parse


def _number(least: int, limit: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= number <= limit:
            raise ValueError(text)
        return number

    return parse


def _octal(text: str) -> int:
    if not text or not set(text) <= set("01234567") or int(text, 8) > 0o777:
        raise ValueError(text)
    return int(text, 8)


def _break_char(text: str) -> bytes:
    character = text.encode("ascii")
    if len(character) > 1 or character.isalnum() or not text.isprintable() or character in (b"@", b".", b"/"):
        raise ValueError(text)
    return character
