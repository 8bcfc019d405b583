"""Files, senders and variables of one delivery."""

import pytest

from eqmail_core.local.delivery.request import (
    LocalDelivery,
    candidates,
    delivered_to_line,
    has_owner,
    owner_files,
    owner_sender,
    return_path_line,
    variables,
)

NOW = 1795397501.0


def delivery(ext: bytes = b"", host: bytes = b"sub.dom.org", sender: bytes = b"s@x") -> LocalDelivery:
    local = b"joe+" + ext if ext else b"joe"
    return LocalDelivery(b"joe", b"/home/joe", local, b"-" if ext else b"", ext, host, sender, b"./Mailbox")


@pytest.mark.parametrize(
    ("dash", "ext", "found"),
    [
        (b"", b"", [(b".qmail", -1), (b".qmaildefault", 0)]),
        (b"-", b"a", [(b".qmail-a", -1), (b".qmail-default", 0)]),
        (
            b"-",
            b"A.b-C",
            [(b".qmail-a:b-c", -1), (b".qmail-a:b-default", 4), (b".qmail-default", 0)],
        ),
        (b"-", b"a-", [(b".qmail-a-", -1), (b".qmail-a-default", 2), (b".qmail-default", 0)]),
        (b"-", b"x-Default", [(b".qmail-x-default", 2), (b".qmail-x-default", 2), (b".qmail-default", 0)]),
        (b"/", b"ext", [(b".qmail/ext", -1), (b".qmail/default", 0)]),
    ],
)
def test_candidates_come_from_long_to_short(dash: bytes, ext: bytes, found: list[tuple[bytes, int]]) -> None:
    assert candidates(dash, ext) == found


def test_no_extension_leaves_the_home() -> None:
    assert not any(b".." in name for name, _ in candidates(b"-", b"../../etc/passwd"))


def test_variables_of_the_check_vector() -> None:
    found = variables(delivery(b"A.b-C", sender=b"sen der@x"), b"new@x", 4, NOW)
    assert found[b"EXT"] == b"A.b-C"
    assert (found[b"EXT2"], found[b"EXT3"], found[b"EXT4"]) == (b"C", b"", b"")
    assert found[b"DEFAULT"] == b"C"
    assert (found[b"HOST2"], found[b"HOST3"], found[b"HOST4"]) == (b"sub.dom", b"sub", b"sub")
    assert found[b"RECIPIENT"] == b"joe+A.b-C@sub.dom.org"
    assert found[b"UFLINE"] == b"From sen-der@x Mon Nov 23 01:31:41 2026\n"
    assert found[b"RPLINE"] == b'Return-Path: <"sen der"@x>\n'
    assert found[b"DTLINE"] == b"Delivered-To: joe+A.b-C@sub.dom.org\n"


def test_default_is_left_alone_without_a_default_file() -> None:
    assert b"DEFAULT" not in variables(delivery(), b"", -1, NOW)


def test_lists_get_owner_senders_and_bounces_do_not() -> None:
    assert owner_files(b"-", b"L.x") == (b".qmail-l:x-owner", b".qmail-l:x-owner-default")
    assert owner_sender(b"joe-L", b"h", verp=False) == b"joe-L-owner@h"
    assert owner_sender(b"joe-L", b"h", verp=True) == b"joe-L-owner-@h-@[]"
    assert has_owner(b"s@x") and not has_owner(b"") and not has_owner(b"#@[]")


def test_a_newline_cannot_forge_a_header_line() -> None:
    assert delivered_to_line(b"a\nX: y@h") == b"Delivered-To: a_X: y@h\n"
    assert return_path_line(b"") == b"Return-Path: <>\n"
