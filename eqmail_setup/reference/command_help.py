"""What the commands say of themselves, as values: the reference and the manual pages are made of it."""

from typing import NamedTuple


class OptionHelp(NamedTuple):
    """One option: its names, the word for its value (empty for a switch), its help and its default where shown."""

    names: str
    value: str
    text: str
    default: str

    @property
    def usage(self) -> str:
        """The option as it is typed."""
        return f"{self.names} {self.value}".rstrip()

    @property
    def line(self) -> str:
        """Its help with the default."""
        return f"{self.text} Default: {self.default}." if self.default else self.text


class ArgumentHelp(NamedTuple):
    """One argument."""

    name: str
    required: bool


class CommandHelp(NamedTuple):
    """One command; a group has commands below it. `path` is what is typed, `usage` the whole synopsis."""

    path: str
    usage: str
    short: str
    text: str
    options: tuple[OptionHelp, ...]
    arguments: tuple[ArgumentHelp, ...]
    commands: "tuple[CommandHelp, ...]"
    is_group: bool

    @property
    def name(self) -> str:
        """The last word of the path."""
        return self.path.rpartition(" ")[2]


EXAMPLE_MARK = "\b\n"
"""Begins a paragraph of a help text whose lines stay as they are, after a title."""
