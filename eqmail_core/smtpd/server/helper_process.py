"""The programs that have a say in an SMTP conversation: plugins and password checkers, started and heard.

Their working directory is ours, which must be the home of the installation.  Light, and without an opinion on how the
end of a child is awaited.

Source: smtp-server.md 4.6 (checkpassword on descriptor 3), 4.8 (qmail-spp.c); checkpassword's interface, cr.yp.to.
"""

import os

from eqmail_core.smtpd.policy.plugin_protocol import TEMPORARY_EXIT, PluginOutputReader, PluginResult
from eqmail_core.system.processes import IGNORED_BY_PYTHON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_SIGPIPE = 13
_CANNOT_FORK = frozenset((11, 12))  # EAGAIN, ENOMEM


def start_plugin(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> "tuple[int, int] | PluginResult":
    """Start a plugin: its process id and the descriptor of its output, or the report that it could not be started."""
    try:
        reading, writing = os.pipe()
    except OSError:
        return PluginResult([], b"can't pipe()")
    actions = [(os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_CLOSE, 0)]
    try:
        pid = os.posix_spawn(argv[0], argv, environ, file_actions=actions, setsigdef=IGNORED_BY_PYTHON)
    except (OSError, ValueError) as error:
        os.close(reading)
        return PluginResult([], b"fork() failed" if _fork_failed(error) else b"can't execute")
    finally:
        os.close(writing)
    return pid, reading


def plugin_report(reader: PluginOutputReader, code: int) -> PluginResult:
    """How a plugin did that ended with `code`, negative for a signal.

    One that wrote on after its last word, and so died of SIGPIPE, did nothing wrong.
    """
    if code < 0 and not (reader.is_over and code == -_SIGPIPE):
        return PluginResult([], b"child crashed")
    return PluginResult([], b"can't execute") if code == TEMPORARY_EXIT else PluginResult(reader.instructions)


def _fork_failed(error: OSError | ValueError) -> bool:
    """Tell whether the system has no room for a child; a ValueError is a word that no program can have."""
    return isinstance(error, OSError) and error.errno in _CANNOT_FORK
