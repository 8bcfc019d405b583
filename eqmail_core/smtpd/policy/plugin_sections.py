"""Parse the list of SMTP plugins: lines in sections.

Only the first letter of a section name counts.
Source: smtp-server.md 4.8 (qmail-spp.c spp_init).
"""

from eqmail_core.text.lines import non_empty_lines

CONNECTION, HELO, MAIL, RECIPIENT, DATA, AUTH = b"c", b"h", b"m", b"r", b"d", b"a"
SECTIONS = (CONNECTION, HELO, MAIL, RECIPIENT, DATA, AUTH)


def parse_plugins(text: bytes | None) -> dict[bytes, list[bytes]]:
    """Return the plugins of each section in order.

    Lines before the first section and in unknown sections are ignored.
    """
    plugins: dict[bytes, list[bytes]] = {section: [] for section in SECTIONS}
    current: list[bytes] | None = None
    for line in non_empty_lines(text or b""):
        if line.startswith(b"["):
            current = plugins.get(line[1:2])
        elif current is not None:
            current.append(line)
    return plugins


def plugin_argv(line: bytes) -> list[bytes]:
    """Return a plugin's argv: the shell for :COMMAND, else a program without arguments."""
    return [b"/bin/sh", b"-c", line[1:]] if line.startswith(b":") else [line]
