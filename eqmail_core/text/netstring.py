"""Netstrings: LENGTH:BYTES, .

Source: cr.yp.to/proto/netstrings.txt.
"""


def netstring(data: bytes) -> bytes:
    """Render `data` as a netstring."""
    return b"%d:%s," % (len(data), data)
