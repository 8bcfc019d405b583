"""NUL-terminated fields, the grammar of the internal protocols; a letter begins a record.

Source: SECURITY of qmail, "don't parse"; queue.md 3.3.
"""


def fields(data: bytes) -> list[bytes]:
    """Split NUL-terminated fields; bytes after the last NUL are ignored."""
    return data.split(b"\0")[:-1]


def join(*parts: bytes) -> bytes:
    """Render fields, each with its NUL."""
    return b"\0".join(parts) + b"\0"


def netstring(data: bytes) -> bytes:
    """Render `data` as a netstring."""
    return b"%d:%s," % (len(data), data)
