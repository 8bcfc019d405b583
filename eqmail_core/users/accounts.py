"""Accounts of this machine, as the look-up of addresses wants them."""

import os
import pwd


def account(name: bytes) -> tuple[bytes, int, int, bytes] | None:
    """Name, uid, gid and home of an account; None where there is none."""
    try:
        entry = pwd.getpwnam(os.fsdecode(name))
    except (KeyError, ValueError):
        return None
    return os.fsencode(entry.pw_name), entry.pw_uid, entry.pw_gid, os.fsencode(entry.pw_dir)


def home_owner(home: bytes) -> int:
    """The uid that owns a home.  Fails: OSError."""
    return os.stat(home).st_uid


def own_name() -> bytes:
    """The account that we run as; its number where it has no name."""
    try:
        return os.fsencode(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return b"%d" % os.getuid()
