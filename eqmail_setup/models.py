"""The settings as a pydantic model, made from the declarations that the programs read; and what check says of them.

A program reads leniently, as C does; here the same parser is strict: every remark is an error of its field. Relations
between files are checked on the lenient values, so that one mistake does not hide another.
"""

import os
import shutil
from collections.abc import Iterator
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

from eqmail_core.control.declared import Controls
from eqmail_core.control.folders import FOLDERS
from eqmail_core.control.setting import Control, ControlError
from eqmail_core.control.source import controls_in
from eqmail_core.formats.smtpplugins import parse_plugins, plugin_argv
from eqmail_core.store.domains_db import domain_records
from eqmail_core.system.files import read_file
from eqmail_core.values.site import Site
from eqmail_setup.cdb_bytes import database_bytes
from eqmail_setup.patches import FOREIGN, RENAMED
from eqmail_setup.plan import Weight
from eqmail_setup.public_suffix import is_public_suffix
from eqmail_setup.service_scripts import readers_of_settings

# Files that lie among the settings without being settings.
_COMPANIONS = {"tcprules", "servercert.pem.new", "rsa2048.new", "dh2048.new", "servercert.rnd", "req.pem", "simcontrol"}

_JSON_TYPES = dict.fromkeys(("number", "seconds", "bytes"), "integer") | {
    "flag": "boolean",
    "list": "array",
    "map": "object",
}


class Remark(NamedTuple):
    """What check has to say about one file."""

    file: str
    found: str
    wanted: str
    weight: Weight = Weight.WRONG


def _strict(control: Control[Any]) -> BeforeValidator:
    def parse(text: object) -> object:
        if not isinstance(text, bytes):
            return text
        value, remarks = control.parse(text)
        if remarks:
            raise PydanticCustomError("remarks", "{remarks}", {"remarks": "; ".join(remarks)})
        return value

    return BeforeValidator(parse)


def _field(control: Control[Any]) -> tuple[Any, Any]:
    shape = {"type": _JSON_TYPES.get(control.kind, "string"), "x-kind": control.kind}
    field = Field(default=control.default, description=control.manual, title=control.file, json_schema_extra={**shape})
    return Annotated[Any, _strict(control)], field


_FIELDS: dict[str, Any] = {name: _field(control) for name, control in Controls.declared().items()}
ControlsModel: type[BaseModel] = create_model("ControlsModel", __config__=ConfigDict(extra="forbid"), **_FIELDS)
"""Every setting with its manual and default; the bytes of its file are what validation takes."""


def remarks_on(site: Site) -> list[Remark]:
    """Everything that a careful administrator should know about the settings of an installation.

    Fails: PermissionError when the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(site.control))
    except FileNotFoundError:
        return []
    if not names:
        # Between setup and config-fast nothing is wrong yet.
        wanted = "with the name of this host: eqmail config-fast NAME"
        return [Remark(Controls.me.file, "missing, as all settings are", wanted, Weight.ADVICE)]
    texts, remarks = _texts(site, names)
    remarks += unknown_files(site, names)
    try:
        ControlsModel(**texts)
    except ValidationError as errors:
        remarks += [_from_error(error["loc"][0], error["msg"]) for error in errors.errors()]
    remarks += _between_files(site)
    return sorted(remarks, key=lambda remark: remark.file)


def _texts(site: Site, names: list[str]) -> tuple[dict[str, bytes], list[Remark]]:
    texts, remarks = {}, []
    for name, control in Controls.declared().items():
        if control.file not in names:
            continue
        try:
            text = read_file(f"{site.control}/{control.file}")
        except OSError as error:
            if not isinstance(error, PermissionError):
                remarks.append(Remark(control.file, str(error.strerror).lower(), "a readable file"))
            continue
        if text is not None:
            texts[name] = text
    return texts, remarks


def _known_files() -> set[str]:
    return {control.file for control in Controls.declared().values()}


def unknown_files(site: Site, names: list[str]) -> Iterator[Remark]:
    """What is to be said of files that no program of ours reads: whose they are, if that is known."""
    unknown = [name for name in names if name not in {*_known_files(), *FOLDERS, *_COMPANIONS}]
    readers = readers_of_settings(site, unknown)
    for name in unknown:
        if name in readers:
            remark = Remark(name, f"read by {readers[name]}, and by no program here", "as it is", Weight.KEPT)
        elif name in RENAMED:
            wanted = f"as {RENAMED[name]}, which it is here, unless a script of yours reads it"
            remark = Remark(name, "of another qmail", wanted, Weight.ADVICE)
        elif name in FOREIGN:
            remark = Remark(
                name, f"of a patch of qmail, and no program here reads it: {FOREIGN[name]}", "as it is", Weight.KEPT
            )
        else:
            remedy = "left to whoever reads it, or renamed to what was meant: eqmail config show lists all names"
            remark = Remark(name, f"no program reads this file in {site.layout.control}", remedy, Weight.ADVICE)
        yield remark


def _from_error(name: object, message: str) -> Remark:
    control = Controls.declared()[str(name)]
    return Remark(control.file, message, f"a {control.kind}: eqmail config show {control.file} explains it")


def _between_files(site: Site) -> Iterator[Remark]:
    """Relations between files that no program checks and that lose or refuse mail when they are wrong."""
    controls = controls_in(site.control, _readable)
    try:
        yield from _name_of_host(controls)
        yield from _domains(controls)
        yield from _compiled(site, controls)
        yield from _programs(site, controls)
    except ControlError as error:
        yield Remark(error.name, "cannot be read", "readable")


def _readable(path: str) -> bytes | None:
    try:
        return read_file(path)
    except PermissionError:
        return None


def _name_of_host(controls: Controls) -> Iterator[Remark]:
    if controls.me is None:
        yield Remark(Controls.me.file, "missing", "the name of this host: eqmail config-fast NAME")
    plus = controls.plusdomain.decode("latin-1")
    if controls.me is not None and is_public_suffix(plus):
        wanted = f"a domain of your own: everybody under {plus} would be taken for it"
        yield Remark(Controls.plusdomain.file, f"{plus} is a public suffix", wanted, Weight.ADVICE)


def _domains(controls: Controls) -> Iterator[Remark]:
    here = {domain.lower() for domain in controls.locals or []}
    virtual = {key for key, prefix in (controls.virtualdomains or {}).items() if key and prefix}
    both = sorted(here & virtual)
    for domain in both:
        found = f"{_text(domain)} is also in {Controls.locals.file}, which wins"
        yield Remark(Controls.virtualdomains.file, found, "in one of the two")
    if controls.rcpthosts is None:
        found = "missing, so this host relays for the whole world"
        yield Remark(Controls.rcpthosts.file, found, f"the domains of {Controls.locals.file}")
        return
    accepted = {domain.lower() for domain in (*controls.rcpthosts, *(controls.morercpthosts or []))}
    if controls.morercpthosts is None and controls.morercpthosts_cdb is not None:
        return
    for domain in sorted(here | {key for key in virtual if b"@" not in key}):
        if not _accepted(domain, accepted):
            found = f"lacks {_text(domain)}, so mail for it from other hosts is refused"
            yield Remark(Controls.rcpthosts.file, found, f"listing {_text(domain)}")


def _accepted(domain: bytes, accepted: set[bytes]) -> bool:
    """Whether the domain, or a suffix of it that begins with a dot, is listed."""
    dots = [index for index, byte in enumerate(domain) if byte == 46]
    return any(name in accepted for name in (domain, *(domain[index:] for index in dots)))


def _compiled(site: Site, controls: Controls) -> Iterator[Remark]:
    text, compiled = (f"{site.control}/{item.file}" for item in (Controls.morercpthosts, Controls.morercpthosts_cdb))
    if not os.path.exists(text):
        return
    name, remedy = Controls.morercpthosts_cdb.file, "made anew: run qmail-newmrh"
    if not os.path.exists(compiled):
        yield Remark(name, "missing", remedy)
    elif _readable(compiled) != database_bytes(domain_records(_readable(text) or b"")):
        yield Remark(name, f"not what {Controls.morercpthosts.file} says", remedy)
    if controls.rcpthosts is None:
        yield Remark(Controls.morercpthosts.file, "not read without rcpthosts", f"with {Controls.rcpthosts.file}")


def _text(data: bytes) -> str:
    return data.decode("latin-1")


def _programs(site: Site, controls: Controls) -> Iterator[Remark]:
    """Programs that the SMTP server is to run, in the home of the installation, and cannot."""
    wanted = "the path of a program"
    checker = (controls.smtpcheckpw or b"").split()[:1]
    if checker and not _is_program(site, checker[0], f"{site.bin}:{os.environ.get('PATH', os.defpath)}"):
        yield Remark(Controls.smtpcheckpw.file, f"{_text(checker[0])} cannot be run, so nobody can log in", wanted)
    plugins = {plugin_argv(line)[0] for lines in parse_plugins(controls.smtpplugins).values() for line in lines}
    for plugin in sorted(plugins):
        if not _is_program(site, plugin, site.home):
            found = f"{_text(plugin)} cannot be run, so clients are told to come back later"
            yield Remark(Controls.smtpplugins.file, found, wanted)


def _is_program(site: Site, name: bytes, places: str) -> bool:
    """Whether there is such a program; a name with a slash is a path from the home, others are looked for in places."""
    path = os.fsdecode(name)
    found = shutil.which(os.path.join(site.home, path) if "/" in path else path, os.F_OK, places)
    # Not whether we may run it: it is the server that does.
    return found is not None and bool(os.stat(found).st_mode & 0o111)
