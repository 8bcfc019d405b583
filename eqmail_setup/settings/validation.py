"""The settings as a pydantic model, made from the declarations that the programs read; and their findings in check.

A program reads leniently, as C does; here the same parser is strict: every remark is an error of its field. Relations
between files are checked on the lenient values, so that one mistake does not hide another.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from eqmail_core.access.rcpthosts_database import domain_records
from eqmail_core.control.checks import troubles
from eqmail_core.control.controls import Controls, controls_in
from eqmail_core.control.folders import FOLDERS
from eqmail_core.control.kinds import ForeignFile
from eqmail_core.control.setting import Control, ControlError
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.plugin_sections import parse_plugins, plugin_argv
from eqmail_core.system.files import read_file
from eqmail_core.text.invisible_characters import cleaned, visible
from eqmail_setup.diagnostics.checks.readability import permissions_text, unreadable_by
from eqmail_setup.diagnostics.checks.start_scripts import readers_of_settings
from eqmail_setup.errors import Severity
from eqmail_setup.installation.accounts import caller
from eqmail_setup.installation.staging import final_path
from eqmail_setup.migration.unsupported import RENAMED, UNSUPPORTED
from eqmail_setup.network.public_suffix import is_public_suffix
from eqmail_setup.settings.cdb import database_bytes

# Files that lie among the settings without being settings.
_COMPANIONS = {"tcprules", "servercert.pem.new", "rsa2048.new", "dh2048.new", "servercert.rnd", "req.pem", "simcontrol"}

_FOREIGN = {control.file for control in Controls.declared().values() if isinstance(control, ForeignFile)}

_JSON_TYPES = dict.fromkeys(("number", "seconds", "bytes"), "integer") | {
    "flag": "boolean",
    "list": "array",
    "map": "object",
}


UNREADABLE = "unreadable"
"""Name of the finding about files that an account needs and cannot read."""

MAX_SAID = 5
"""How many remarks one file gets; the rest is counted."""


class SettingProblem(NamedTuple):
    """What check has to say about one file.

    `name`: of the finding, where it is not that of the file.  `repaired`: what `check --fix` writes.
    """

    file: str
    found: str
    expected: str
    severity: Severity = Severity.ERROR
    name: str = ""
    repaired: bytes | None = None


def _strict(control: Control[Any]) -> BeforeValidator:
    def parse(text: object) -> object:
        if not isinstance(text, bytes):
            return text
        found = [trouble.said for trouble in troubles(control, text)]
        if found:
            more = [f"and {len(found) - MAX_SAID} more"] if len(found) > MAX_SAID else []
            raise PydanticCustomError("remarks", "{remarks}", {"remarks": "; ".join([*found[:MAX_SAID], *more])})
        return control.parse(text)[0]

    return BeforeValidator(parse)


def _field(control: Control[Any]) -> tuple[Any, Any]:
    shape = {"type": _JSON_TYPES.get(control.kind, "string"), "x-kind": control.kind}
    field = Field(default=control.default, description=control.manual, title=control.file, json_schema_extra={**shape})
    return Annotated[Any, _strict(control)], field


_FIELDS: dict[str, Any] = {name: _field(control) for name, control in Controls.declared().items()}
ControlsModel: type[BaseModel] = create_model("ControlsModel", __config__=ConfigDict(extra="forbid"), **_FIELDS)
"""Every setting with its manual and default; the bytes of its file are what validation takes."""


def check_settings(site: Site) -> list[SettingProblem]:
    """Everything that a careful administrator should know about the settings of an installation.

    Fails: PermissionError when the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(site.control))
    except FileNotFoundError:
        return []
    if not names:
        # Between setup and config-fast nothing is wrong yet.
        expected = "with the name of this host: eqmail config-fast NAME"
        return [SettingProblem(Controls.me.file, "missing, as all settings are", expected, Severity.INFO)]
    texts = {}
    problems = list(_unreadable(site, names))
    for name, control in Controls.declared().items():
        text = _seen(f"{site.control}/{control.file}") if control.file in names else None
        if text is not None:
            texts[name] = text
    problems += unknown_files(site, names)
    try:
        ControlsModel(**texts)
    except ValidationError as errors:
        problems += [_from_error(error["loc"][0], error["msg"], texts) for error in errors.errors()]
    problems += _check_across_files(site)
    return sorted(problems, key=lambda remark: remark.file)


def _unreadable(site: Site, names: list[str]) -> Iterator[SettingProblem]:
    """Files that the accounts that need them cannot read; the rights of the caller do not count."""
    for control in Controls.declared().values():
        path = f"{site.control}/{control.file}"
        if control.file not in names:
            continue
        try:
            read_file(path)
        except OSError as error:
            if site.single_user or not isinstance(error, PermissionError):
                fact = f"cannot be read by {caller()[0]}: {str(error.strerror).lower()}, {permissions_text(path)}"
                yield SettingProblem(control.file, fact, "a readable file", name=UNREADABLE)
                continue
        if unreadable := unreadable_by(site, control, path):
            expected = f"readable for the account: chmod a+r {path}, or its group and chmod g+r where it is secret"
            yield SettingProblem(
                control.file,
                f"cannot be read by {', '.join(unreadable)}: {permissions_text(path)}",
                expected,
                name=UNREADABLE,
            )


def _seen(path: str) -> bytes | None:
    """The content of a file, as far as we may see it: what cannot be read is a remark of its own."""
    try:
        return read_file(path)
    except OSError:
        return None


def _known_files() -> set[str]:
    return {control.file for control in Controls.declared().values()}


def unknown_files(site: Site, names: list[str]) -> Iterator[SettingProblem]:
    """Findings about files that no program of ours reads, with their owner if known."""
    unknown = [name for name in names if name not in {*_known_files(), *FOLDERS, *_COMPANIONS}]
    readers = readers_of_settings(site, unknown)
    for name in unknown:
        if name in readers:
            problem = SettingProblem(
                name, f"read by {readers[name]}, and by no program here", "as it is", Severity.WARNING
            )
        elif name in RENAMED:
            expected = f"as {RENAMED[name]}, which it is here, unless a script of yours reads it"
            problem = SettingProblem(name, "of another qmail", expected, Severity.INFO)
        elif name in UNSUPPORTED:
            problem = SettingProblem(
                name,
                f"of a patch of qmail, and no program here reads it: {UNSUPPORTED[name]}",
                "as it is",
                Severity.WARNING,
            )
        else:
            remedy = "left to whoever reads it, or renamed to what was meant: eqmail config show lists all names"
            problem = SettingProblem(
                name, f"no program reads this file in {site.layout.control}", remedy, Severity.INFO
            )
        yield problem


def _from_error(name: object, message: str, texts: dict[str, bytes]) -> SettingProblem:
    control, text = Controls.declared()[str(name)], texts[str(name)]
    if cleaned(text) != text:
        return SettingProblem(control.file, message, "without that: eqmail check --fix", repaired=cleaned(text))
    return SettingProblem(control.file, message, f"a {control.kind}: eqmail config show {control.file} explains it")


def _check_across_files(site: Site) -> Iterator[SettingProblem]:
    """Relations between files that no program checks and that lose or refuse mail when they are wrong."""
    controls = controls_in(site.control, _plainly)
    for relation in (_name_of_host, _domains, _compiled, _programs):
        try:
            yield from relation(site, controls)
        except ControlError:
            continue  # that it cannot be read is a remark of its own


def _plainly(path: str) -> bytes | None:
    """The text of a file without its line-end faults, so that each is reported once."""
    text = read_file(path)
    return text if text is None or os.path.basename(path) in _FOREIGN else cleaned(text)


def _name_of_host(site: Site, controls: Controls) -> Iterator[SettingProblem]:
    if controls.me is None:
        yield SettingProblem(Controls.me.file, "missing", "the name of this host: eqmail config-fast NAME")
    plus = controls.plusdomain.decode("latin-1")
    if controls.me is not None and is_public_suffix(plus):
        expected = f"a domain of your own: everybody under {plus} would be taken for it"
        yield SettingProblem(Controls.plusdomain.file, f"{plus} is a public suffix", expected, Severity.INFO)


def _domains(site: Site, controls: Controls) -> Iterator[SettingProblem]:
    here = {domain.lower() for domain in controls.locals or []}
    virtual = {key for key, prefix in (controls.virtualdomains or {}).items() if key and prefix}
    both = sorted(here & virtual)
    for domain in both:
        found = f"{visible(domain)} is also in {Controls.locals.file}, which wins"
        yield SettingProblem(Controls.virtualdomains.file, found, "in one of the two")
    if controls.rcpthosts is None:
        found = "missing, so this host relays for the whole world"
        yield SettingProblem(Controls.rcpthosts.file, found, f"the domains of {Controls.locals.file}")
        return
    accepted = {domain.lower() for domain in (*controls.rcpthosts, *(controls.morercpthosts or []))}
    if controls.morercpthosts is None and controls.morercpthosts_cdb is not None:
        return
    for domain in sorted(here | {key for key in virtual if b"@" not in key}):
        if not _accepted(domain, accepted):
            found = f"lacks {visible(domain)}, so mail for it from other hosts is refused"
            yield SettingProblem(Controls.rcpthosts.file, found, f"listing {visible(domain)}")


def _accepted(domain: bytes, accepted: set[bytes]) -> bool:
    """Whether the domain, or a suffix of it that begins with a dot, is listed."""
    dots = [index for index, byte in enumerate(domain) if byte == 46]
    return any(name in accepted for name in (domain, *(domain[index:] for index in dots)))


def _compiled(site: Site, controls: Controls) -> Iterator[SettingProblem]:
    text, compiled = (f"{site.control}/{item.file}" for item in (Controls.morercpthosts, Controls.morercpthosts_cdb))
    if not os.path.exists(text):
        return
    name, remedy = Controls.morercpthosts_cdb.file, "made anew: run qmail-newmrh"
    if not os.path.exists(compiled):
        yield SettingProblem(name, "missing", remedy)
    elif _seen(compiled) != database_bytes(domain_records(_seen(text) or b"")):
        yield SettingProblem(name, f"not what {Controls.morercpthosts.file} says", remedy)
    if controls.rcpthosts is None:
        yield SettingProblem(
            Controls.morercpthosts.file, "not read without rcpthosts", f"with {Controls.rcpthosts.file}"
        )


def _programs(site: Site, controls: Controls) -> Iterator[SettingProblem]:
    """Programs that the SMTP server is to run, in the home of the installation, and cannot."""
    expected = "the path of a program"
    checker = (controls.smtpcheckpw or b"").split()[:1]
    if checker and not _is_program(site, checker[0], f"{site.bin}:{os.environ.get('PATH', os.defpath)}"):
        yield SettingProblem(
            Controls.smtpcheckpw.file, f"{visible(checker[0])} cannot be run, so logins fail", expected
        )
    plugins = {plugin_argv(line)[0] for lines in parse_plugins(controls.smtpplugins).values() for line in lines}
    for plugin in sorted(plugins):
        if not _is_program(site, plugin, site.home):
            found = f"{visible(plugin)} cannot be run, so clients are deferred"
            yield SettingProblem(Controls.smtpplugins.file, found, expected)


def _is_program(site: Site, name: bytes, places: str) -> bool:
    """Whether there is such a program; a name with a slash is a path from the home, others are looked for in places."""
    path = os.fsdecode(name)
    final_home = final_path(site, site.home)
    if path.startswith(f"{final_home}/"):
        path = site.home + path.removeprefix(final_home)  # below a staging root it is there already
    found = shutil.which(os.path.join(site.home, path) if "/" in path else path, os.F_OK, places)
    # Not whether we may run it: it is the server that does.
    return found is not None and bool(os.stat(found).st_mode & 0o111)
