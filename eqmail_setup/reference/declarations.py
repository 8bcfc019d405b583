"""What declarations and programs say of themselves, in words, for reference and manual pages."""

import ast

from eqmail_core.control.controls import Controls
from eqmail_setup.installation.launchers import Launcher, module_file


def default_of(value: object, falls_back_to_me: bool) -> str:
    """The default of a setting in words."""
    own = "none" if value is None else f"`{value.decode()}`" if isinstance(value, bytes) else f"{value}"
    own = {"True": "on", "False": "off"}.get(own, own)
    return f"the content of `{Controls.me.file}`, else {own}" if falls_back_to_me else own


def described(program: Launcher) -> str:
    """The docstring of the module of a program."""
    with open(module_file(program), encoding="utf-8") as file:
        tree = ast.parse(file.read())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == program.function != "main":
            return ast.get_docstring(node) or ""
    return ast.get_docstring(tree) or ""
