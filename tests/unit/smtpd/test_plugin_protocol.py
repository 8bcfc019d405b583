"""The output of plugins, read in any fragmentation."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.smtpd.policy.plugin_protocol import MAX_OUTPUT, PluginOutputReader

PLUGIN_OUTPUT = b"HX: y\n\njunk\nCa@b\nSV=1\nE550 no\nHnever\n"


def reader_of(pieces: list[bytes]) -> PluginOutputReader:
    reader = PluginOutputReader()
    for piece in pieces:
        reader.receive(piece)
    return reader


def test_output_after_the_final_instruction_is_ignored() -> None:
    reader = reader_of([PLUGIN_OUTPUT])
    assert reader.is_over
    assert reader.instructions == [(b"H", b"X: y"), (b"C", b"a@b"), (b"S", b"V=1"), (b"E", b"550 no")]


def test_a_last_line_needs_no_newline() -> None:
    assert reader_of([b"HX: y\nP250 hi", b""]).instructions == [(b"H", b"X: y"), (b"P", b"250 hi")]


def test_empty_output_is_no_instruction() -> None:
    reader = reader_of([b""])
    assert reader.is_over
    assert not reader.instructions


def test_a_line_ends_at_a_nul() -> None:
    """Plugin output becomes variables and arguments of programs, which cannot contain a NUL."""
    assert reader_of([b"SV=a\0b\n\0\nE550 x\0\n"]).instructions == [(b"S", b"V=a"), (b"E", b"550 x")]


def test_endless_plugin_output_is_cut_off() -> None:
    reader = reader_of([b"H" * 4096] * (MAX_OUTPUT // 4096 + 1))
    assert reader.is_over


@given(st.lists(st.integers(0, len(PLUGIN_OUTPUT)), max_size=6))
def test_fragmentation_makes_no_difference(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(PLUGIN_OUTPUT)]
    pieces = [PLUGIN_OUTPUT[a:b] for a, b in pairwise(edges) if b > a]
    assert reader_of(pieces).instructions == reader_of([PLUGIN_OUTPUT]).instructions
