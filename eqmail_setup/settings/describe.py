"""Display of a setting and its value, as text and as JSON."""

from collections.abc import Iterator
from typing import Any

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import Control, ControlError
from eqmail_core.site.site import Site
from eqmail_core.system.installation import read_controls
from eqmail_core.text.lines import non_empty_lines
from eqmail_setup.mail.routing import text
from eqmail_setup.settings.reload import when_effective
from eqmail_setup.settings.secrets import HIDDEN
from eqmail_setup.settings.units import accepted_values, value_with_unit

NOT_SET, EMPTY = "(not set)", "(empty)"


def describe(site: Site, control: Control[Any]) -> Iterator[str]:
    """What a setting means, what it is, who reads it and when a change is in force; a line each."""
    key = next(key for key, item in Controls.declared().items() if item is control)
    yield f"{control.file} ({control.kind}): {control.manual}"
    if accepted := accepted_values(control):
        yield f"accepts: {accepted}"
    yield f"value: {display_value(read_controls(site), key, control)}"
    yield f"file: {site.control}/{control.file}"
    yield f"read by: {', '.join(control.used_by) or 'no program'}"
    if control.env:
        yield f"overridden by: the environment variable {control.env}"
    yield f"in force: {when_effective(control)}"


def searched_text(control: Control[Any]) -> str:
    """Everything that a declaration says, in lower case, to be searched for words."""
    facts = (control.file, control.manual, control.kind, control.entries, control.env, accepted_values(control))
    return " ".join((*facts, *control.used_by)).lower()


def display_value(values: Controls, key: str, control: Control[Any]) -> str:
    """A value in one line; a whole file as its size, and passwords not at all."""
    try:
        value = getattr(values, key)
    except ControlError as error:
        return f"cannot be read ({error.error.strerror})"
    if value is None:
        return NOT_SET
    if control.kind == "file":
        return f"file, {len(value)} bytes"
    if value in ({}, [], b""):
        return EMPTY
    if isinstance(value, dict) and _is_plain(value):
        return "; ".join(f"{text(left)}:{text(right).split(' ', 1)[0]}" for left, right in value.items())
    if isinstance(value, list) and control.is_secret:
        return " ".join(HIDDEN for _ in value)
    if isinstance(value, list) and _is_plain(value):
        return " ".join(map(text, value))
    if isinstance(value, dict | list):
        return "; ".join(map(text, _lines(values, control)))
    return text(value) if isinstance(value, bytes) else value_with_unit(control, value)


def json_value(values: Controls, key: str, control: Control[Any]) -> object:
    """The same value as JSON has it; of a kind with values that are no text, the lines of the file."""
    try:
        value = getattr(values, key)
    except ControlError:
        return None
    if isinstance(value, dict) and _is_plain(value):
        return {_raw(left): _raw(right).split(" ", 1)[0] for left, right in value.items()}
    if isinstance(value, list) and control.is_secret:
        return [HIDDEN for _ in value]
    if isinstance(value, dict | list):
        return [_raw(item) for item in (value if _is_plain(value) else _lines(values, control))]
    if isinstance(value, bytes):
        return f"file, {len(value)} bytes" if control.kind == "file" else text(value)
    return value


def _is_plain(value: dict[Any, Any] | list[Any]) -> bool:
    """Whether all entries are text."""
    entries = value.values() if isinstance(value, dict) else value
    return all(isinstance(item, bytes) for item in entries)


def _lines(values: Controls, control: Control[Any]) -> list[bytes]:
    return non_empty_lines(values.content(control.file) or b"")


def _raw(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
