"""Whether the administrator put something before qmail-remote, or the file that does it is as it was shipped.

Source: control-files.md "beforemote / qmail-bfrmt".
"""

_SHIPPED_SCRIPT = (
    b'export DKREMOTE="$BINDIR/qmail-remote"',
    b'np="$BINDIR/qmail-remote" ; exec $np "$@"',
)


def is_idle(content: bytes | None, is_script: bool, remote_program: bytes) -> bool:
    """Tell whether `content` of the file leads to `remote_program` and to nothing else; None means no file.

    `is_script`: the file is a piece of shell; otherwise its first line is the path of a program.
    """
    if content is None:
        return True
    if not is_script:
        return content.split(b"\n", 1)[0].strip() in (b"", remote_program)
    lines = tuple(line.strip() for line in content.split(b"\n"))
    return tuple(line for line in lines if line and not line.startswith(b"#")) in ((), _SHIPPED_SCRIPT)
