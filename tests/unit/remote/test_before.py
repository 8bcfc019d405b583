"""When a program before qmail-remote must be run."""

import pytest

from eqmail_core.remote.before import is_idle

REMOTE = b"/h/bin/qmail-remote"
SHIPPED = b"""#!/bin/sh
# config file for qmail-bfrmt
#

# Enter commands here, like

export DKREMOTE="$BINDIR/qmail-remote"
np="$BINDIR/qmail-remote" ; exec $np "$@"
"""


@pytest.mark.parametrize("content", [None, SHIPPED, b"", b"# nothing\n\n"])
def test_a_script_as_shipped_is_idle(content: bytes | None) -> None:
    assert is_idle(content, True, REMOTE)


@pytest.mark.parametrize(
    "content",
    [
        b'exec /usr/local/bin/sign "$@"\n',
        SHIPPED.replace(b"np=", b"np=/usr/bin/sign;x="),
        SHIPPED + b"echo more\n",
        b'np="$BINDIR/qmail-remote" ; exec $np "$@"\n',
    ],
)
def test_any_other_command_counts(content: bytes) -> None:
    assert not is_idle(content, True, REMOTE)


@pytest.mark.parametrize(
    ("content", "idle"),
    [(REMOTE + b"\n\nwhat it is\n", True), (b"\n", True), (b"/usr/bin/sign\n", False), (b"#!/bin/sh\n", False)],
)
def test_elsewhere_the_first_line_names_the_program(content: bytes, idle: bool) -> None:
    assert is_idle(content, False, REMOTE) == idle
