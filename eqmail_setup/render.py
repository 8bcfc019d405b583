"""Rendering the packaged templates; a name that a template uses and nobody gives is an error.

In a wheel the templates are the package `eqmail_setup.templates`; in a checkout they lie beside this package, and
installed programs, which run without `site`, know no other mapping.

Fails: jinja2.UndefinedError, jinja2.TemplateNotFound: mistakes of ours that the tests find.
"""

import os
import shlex
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(template: str, **values: object) -> bytes:
    """Render one template."""
    return _environment().get_template(template).render(**values).encode("utf-8", "surrogateescape")


def template_names() -> list[str]:
    """Every packaged template."""
    return [name for name in _environment().list_templates() if name.endswith(".j2")]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_folders()),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters["shell"] = lambda text: shlex.quote(str(text))
    environment.filters["python"] = repr
    return environment


def _folders() -> list[str]:
    here = os.path.dirname(os.path.abspath(__file__))
    return [f"{here}/templates", f"{os.path.dirname(here)}/templates"]
