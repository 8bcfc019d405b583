"""Start plugins and password checkers of an SMTP session, and read their results.

Their working directory is that of the caller, which must be the home of the installation.  Light, and independent of
how the end of a child is awaited.

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
    """Start a plugin.

    Return its process id and output descriptor, or a result if the start failed.
    """
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
    """Return the result of a plugin that ended with `code`, negative for a signal.

    A plugin that wrote on after its final instruction, and so died of SIGPIPE, has not failed.
    """
    if code < 0 and not (reader.is_over and code == -_SIGPIPE):
        return PluginResult([], b"child crashed")
    return PluginResult([], b"can't execute") if code == TEMPORARY_EXIT else PluginResult(reader.instructions)


def _fork_failed(error: OSError | ValueError) -> bool:
    """Whether the system lacks resources for a child.

    A ValueError means an argument no program can have.
    """
    return isinstance(error, OSError) and error.errno in _CANNOT_FORK
