"""What ps and pgrep show of a process: a short name, and behind it what the process does.

The names are those of the C programs, so that monitors that look for qmail-send go on working.  Without setproctitle
only the short name is shown.

Fails: never.
"""

from eqmail_core.system.kernel import name_process

try:
    import setproctitle
except ImportError:
    setproctitle = None  # type: ignore[assignment]  # then the command line stays that of the parent


def set_process_title(name: str, purpose: str) -> None:
    """Show `name`, up to 15 characters, as the command name, and "name: purpose" as the command line."""
    if setproctitle is not None:
        line = f"{name}: {purpose}" if purpose else name
        setproctitle.setproctitle(line.encode("utf-8", "replace").decode())
    # Afterwards: setproctitle sets the command name too, to the beginning of the line.
    name_process(name)
