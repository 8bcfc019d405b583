"""Run the administrator's program before qmail-remote or qmail-queue, if there is one.

Source: control-files.md "beforemote" (qmail-bfrmt, qmail-bfque, qmail-before).
"""

import os

from eqmail_core.outcome import EXIT_DONE, Failure
from eqmail_core.site.layout import EQMAIL_111
from eqmail_core.system.commands import run, run_with_input
from eqmail_core.system.files import read_file
from eqmail_core.text.lines import first_line
from eqmail_core.text.options import program_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.site.site import Site


_SHIPPED_SCRIPT = (
    b'export DKREMOTE="$BINDIR/qmail-remote"',
    b'np="$BINDIR/qmail-remote" ; exec $np "$@"',
)


def is_idle(content: bytes | None, is_script: bool, remote_program: bytes) -> bool:
    """Whether `content` of the file runs `remote_program` and nothing else; None means no file.

    `is_script`: the file is a shell fragment; otherwise its first line is the path of a program.
    """
    if content is None:
        return True
    if not is_script:
        return content.split(b"\n", 1)[0].strip() in (b"", remote_program)
    lines = tuple(line.strip() for line in content.split(b"\n"))
    return tuple(line for line in lines if line and not line.startswith(b"#")) in ((), _SHIPPED_SCRIPT)


_SH = b"/bin/sh"
# $1 is the folder of the programs, $2 the fragment; the other words stay for the fragment, as "$@".
_SOURCE = b'BINDIR=$1; BEFORE=$2; shift 2; PATH=$BINDIR:$PATH; . "$BEFORE" 2>/dev/null'


def run_before(site: "Site", environ: "Mapping[bytes, bytes]", argv: list[bytes], file: str, program: str) -> int:
    """Run the program that the control file `file` names, with `argv`, in place of `program`.

    The file's first line is the path of a program.  But before qmail-remote, in the layouts older than eQmail 1.11, the
    file is a shell fragment.  One without commands counts as none.
    Fails: OSError when nothing can be run.  Returns 0, after a fragment that succeeded.
    """
    path = f"{site.control}/{file}"
    fallback = os.fsencode(f"{site.bin}/{program}")
    text = read_file(path)
    if text is None:
        return _become(fallback, argv, environ)
    if site.layout.name == EQMAIL_111.name or program == "qmail-queue":
        named = first_line(text)
        if os.access(named, os.X_OK):
            return _become(named, argv, environ)
        problem = b"%b cannot be run" % named if named else b""
    elif is_idle(text, True, fallback):
        return _become(fallback, argv, environ)
    else:
        beginning = _position()
        words = [argv[0], os.fsencode(site.bin), os.fsencode(path), *argv[1:]]
        if _succeeds([_SH, b"-c", _SOURCE, *words], environ):
            return EXIT_DONE
        problem = b"failed"
        if beginning is not None:
            os.lseek(0, beginning, os.SEEK_SET)
    if problem:
        _log(site, environ, argv, b"warning: %b: %b" % (os.fsencode(path), problem))
    return _become(fallback, argv, environ)


def _become(path: bytes, argv: list[bytes], environ: "Mapping[bytes, bytes]") -> int:
    os.execve(path, [path, *argv[1:]], environ)


def _succeeds(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> bool:
    try:
        return run(argv, environ) == EXIT_DONE
    except Failure:
        return False


def _position() -> int | None:
    try:
        return os.lseek(0, 0, os.SEEK_CUR)
    except OSError:
        return None


def _log(site: "Site", environ: "Mapping[bytes, bytes]", argv: list[bytes], line: bytes) -> None:
    """Log to syslog; an error there must not lose the message."""
    splogger = os.fsencode(f"{site.bin}/splogger")
    try:
        run_with_input([splogger, program_name(argv)], environ, line + b"\n", source=None)
    except Failure:
        pass
