"""Rendering the packaged templates; a name that a template uses and that has no value is an error.

In a wheel the templates are the package `eqmail_setup.templates`; in a checkout they lie beside this package, and
installed programs, which run without `site`, know no other mapping.

Fails: jinja2.UndefinedError, jinja2.TemplateNotFound: mistakes of ours that the tests find.
"""

import os
import re
import shlex
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_UNSAFE_IN_UNIT = re.compile(r"""[\s"'\\;]""")


def render(template: str, **values: object) -> bytes:
    """Render one template."""
    return render_from("", template, values)


def render_from(folder: str, template: str, values: Mapping[str, object]) -> bytes:
    """Render one template, or the one of the same name in `folder`, where there is one."""
    return _environment(folder).get_template(template).render(**values).encode("utf-8", "surrogateescape")


def template_names() -> list[str]:
    """Every packaged template."""
    return [name for name in _environment().list_templates() if name.endswith(".j2")]


def plain_texts(folder: str) -> list[tuple[str, str]]:
    """Name and content of the texts in a folder of the templates that are no templates, sorted."""
    loader = _environment().loader
    assert loader is not None
    names = [
        name for name in _environment().list_templates() if name.startswith(f"{folder}/") and name.endswith(".txt")
    ]
    return [(name.removeprefix(f"{folder}/"), loader.get_source(_environment(), name)[0]) for name in sorted(names)]


@cache
def _environment(folder: str = "") -> Environment:
    environment = Environment(
        loader=FileSystemLoader([folder, *_folders()] if folder else _folders()),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["shell"] = lambda text: shlex.quote(str(text))
    environment.filters["words"] = shlex.join
    environment.filters["again"] = lambda text: shlex.join(shlex.split(text))
    environment.filters["unit_text"] = _for_unit
    environment.filters["unit"] = lambda text: _for_unit(text).replace("$", "$$")
    environment.filters["units"] = lambda words: " ".join(_for_unit(word).replace("$", "$$") for word in words)
    environment.filters["python"] = repr
    return environment


def _for_unit(text: str) -> str:
    """One word of a systemd unit; in commands, dollar signs are doubled too."""
    text = text.replace("%", "%%")
    if text and not _UNSAFE_IN_UNIT.search(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def _folders() -> list[str]:
    here = os.path.dirname(os.path.abspath(__file__))
    return [f"{here}/templates", f"{os.path.dirname(here)}/templates"]


def template_folder() -> str:
    """The folder of the packaged templates."""
    return next(folder for folder in _folders() if os.path.isdir(folder))
