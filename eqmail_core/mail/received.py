"""The Received fields that qmail-smtpd, qmail-qmtpd and qmail-queue write.

Source: smtp-server.md 4.4 (received.c); RFC 5321 section 4.4.
"""

_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.@%+/=:-")
_SAFE = bytes(byte if byte in _KEPT else 63 for byte in range(256))

# Longest peer-supplied word, in bytes: no line exceeds 998 bytes (RFC 5322 section 2.1.1).
_LONGEST = 255


def received_from(remote_host: bytes, remote_ip: bytes, remote_info: bytes | None, helo: bytes | None) -> bytes:
    """Return the first line without its LF.

    `helo`: the client's HELO name, None if it equals `remote_host`.
    """
    claimed = b"" if helo is None else b" (HELO " + _safe(helo) + b")"
    who = b"" if remote_info is None else _safe(remote_info) + b"@"
    return b"Received: from %b%b (%b%b)" % (_safe(remote_host), claimed, who, _safe(remote_ip)[:45])


def _safe(word: bytes) -> bytes:
    """Replace the bytes of a peer-supplied word that could pass for another part of the line."""
    return word[:_LONGEST].translate(_SAFE)


def received_by(local: bytes, protocol: bytes, date: bytes) -> bytes:
    """Return the second line with its LF.

    `protocol` is written verbatim; `date` has the form of `date822`.
    """
    return b"  by %b with %b; %b\n" % (_safe(local), protocol, date)


def is_beyond_ascii(head: bytes) -> bool:
    """Return whether the topmost Received field of `head` states SMTPUTF8.

    `head`: the beginning of a message.
    """
    lines = head.partition(b"\n\n")[0].split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(b"Received: from "):
            return any(b" with UTF8SMTP" in near for near in (line, *lines[number + 1 : number + 2]))
    return False


def received(
    remote_host: bytes,
    remote_ip: bytes,
    remote_info: bytes | None,
    helo: bytes | None,
    local: bytes,
    protocol: bytes,
    date: bytes,
) -> bytes:
    """Return both lines, each with its LF."""
    return received_from(remote_host, remote_ip, remote_info, helo) + b"\n" + received_by(local, protocol, date)


def invoker_name(uid: int, alias: int, daemon: int, scheduler: int) -> bytes:
    """Describe the origin of a message by the submitter's uid; alias is compared first, as in C."""
    if uid == alias:
        return b"by alias"
    if uid == daemon:
        return b"from network"
    if uid == scheduler:
        return b"for bounce"
    return b"by uid %d" % uid


def invoked_line(pid: int, invoked_by: bytes, date: bytes) -> bytes:
    """Return qmail-queue's Received line with its LF; `date` as in RFC 5322."""
    return b"Received: (qmail %d invoked %b); %b\n" % (pid, invoked_by, date)
