"""The document of an installation, in TOML: host, settings, domains, mailboxes, aliases, users, logins, services.

A section that is left out says nothing; one that is there is complete.

Fails: EqmailError (usage) for a text that is no such document, with the place.
"""

import json
import tomllib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eqmail_setup.errors import usage_error

Setting = str | bool | int | list[str]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class DomainSection(_Section):
    """A domain: delivered here, belonging to the user `prefix`, or only accepted or routed.

    `catch_all`: who gets mail for addresses without a mailbox, in a virtual domain that is its own prefix.
    """

    kind: Literal["local", "virtual", "accepted", "remote"]
    prefix: str = ""
    accepted: bool = True
    catch_all: list[str] = []


class MailboxSection(_Section):
    """A mailbox; `password` is a hash, and "" leaves the present one."""

    ids: str = Field(pattern=r"^[0-9]{1,10}:[0-9]{1,10}$")
    quota: int = Field(0, ge=0)
    forwards: list[str] = []
    keep: bool = True
    password: str = ""


class UserSection(_Section):
    """An entry of users/assign that is no mailbox."""

    user: str
    ids: str = Field(pattern=r"^[0-9]{1,10}:[0-9]{1,10}$")
    home: str
    dash: str = ""
    extension: str = ""


class ServiceSection(_Section):
    """The service files of one manager."""

    manager: str
    name: str
    services: list[str]
    options: list[str] = []


class SiteDocument(_Section):
    """The whole document; a section that is None is not there.

    `users` are by local part, with a * behind it for a wildcard.  `aliases` have their lines, or the name that they
    are the same as.
    """

    schema_name: Literal["eqmail/site-1"] = Field("eqmail/site-1", alias="schema")
    host: str = ""
    settings: dict[str, Setting] | None = None
    domains: dict[str, DomainSection] | None = None
    mailboxes: dict[str, MailboxSection] | None = None
    aliases: dict[str, list[str] | str] | None = None
    users: dict[str, UserSection] | None = None
    logins: dict[str, str] | None = None
    services: list[ServiceSection] | None = None


def parse_document(text: bytes, name: str) -> SiteDocument:
    """Parse a document; `name` is that of its file, for errors."""
    try:
        value = tomllib.loads(text.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise usage_error(f"{name}: not TOML: {error}") from error
    try:
        return SiteDocument.model_validate(value)
    except ValidationError as errors:
        first = errors.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise usage_error(f"{name}: {place}: {first['msg']}") from errors


def document_text(document: SiteDocument) -> str:
    """The document as TOML, with the sections in their order; parsing it gives the same document."""
    value: dict[str, Any] = document.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True)
    lines = [f"schema = {_toml(document.schema_name)}"]
    lines += [f"host = {_toml(value.pop('host'))}"] if "host" in value else []
    services = value.pop("services", None)
    for section, content in value.items():
        if not isinstance(content, dict):
            continue
        plain = {key: item for key, item in content.items() if not isinstance(item, dict)}
        lines += ["", f"[{section}]", *(f"{_key(key)} = {_toml(item)}" for key, item in plain.items())]
        for key, item in content.items():
            if isinstance(item, dict):
                lines += [
                    "",
                    f"[{section}.{_key(key)}]",
                    *(f"{name} = {_toml(it)}" for name, it in item.items()),
                ]
    if services == []:
        lines.insert(1, "services = []")
    for service in services or ():
        lines += ["", "[[services]]", *(f"{name} = {_toml(item)}" for name, item in service.items())]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # A JSON string is a basic string of TOML, but for DEL.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if key and all(sign.isascii() and (sign.isalnum() or sign in "-_") for sign in key) else _toml(key)
