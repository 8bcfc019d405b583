"""What plugins say, heard in any fragmentation."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtpd.policy.plugin_protocol import MAX_OUTPUT, PluginOutputReader

SPEECH = b"HX: y\n\njunk\nCa@b\nSV=1\nE550 no\nHnever\n"


def heard(pieces: list[bytes]) -> PluginOutputReader:
    hearing = PluginOutputReader()
    for piece in pieces:
        hearing.receive(piece)
    return hearing


def test_nothing_is_heard_after_a_final_word() -> None:
    hearing = heard([SPEECH])
    assert hearing.is_over
    assert hearing.instructions == [(b"H", b"X: y"), (b"C", b"a@b"), (b"S", b"V=1"), (b"E", b"550 no")]


def test_a_last_line_needs_no_newline() -> None:
    assert heard([b"HX: y\nP250 hi", b""]).instructions == [(b"H", b"X: y"), (b"P", b"250 hi")]


def test_silence_is_no_instruction() -> None:
    hearing = heard([b""])
    assert hearing.is_over
    assert not hearing.instructions


def test_a_line_ends_at_a_nul() -> None:
    """What a plugin says becomes variables and arguments of programs, which cannot hold one."""
    assert heard([b"SV=a\0b\n\0\nE550 x\0\n"]).instructions == [(b"S", b"V=a"), (b"E", b"550 x")]


def test_a_plugin_that_never_ends_is_not_listened_to_for_ever() -> None:
    hearing = heard([b"H" * 4096] * (MAX_OUTPUT // 4096 + 1))
    assert hearing.is_over


@given(st.lists(st.integers(0, len(SPEECH)), max_size=6))
def test_fragmentation_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(SPEECH)]
    pieces = [SPEECH[a:b] for a, b in pairwise(edges) if b > a]
    assert heard(pieces).instructions == heard([SPEECH]).instructions
