"""Bytes kept for a while."""

import os
from pathlib import Path

import pytest

from eqmail_core.system import spooled_buffer as scratch
from eqmail_core.system.spooled_buffer import SpooledBuffer


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("count", [0, 1, 7, 70])
def test_what_is_kept_comes_back(count: int) -> None:
    before = descriptors()
    kept = SpooledBuffer()
    pieces = [bytes([65 + number % 26]) * 9999 for number in range(count)]
    for piece in pieces:
        kept.append(piece)
    text = b"".join(pieces)
    assert kept.size == len(text)
    assert b"".join(kept.pieces()) == text
    assert b"".join(kept.pieces(5000)) == text[5000:]
    assert max(map(len, kept.pieces()), default=0) <= 1 << 17
    assert kept.beginning(12345) == text[:12345]
    assert (descriptors() > before) == (len(text) > 65536)
    kept.close()
    assert descriptors() == before


def test_no_name_is_left_where_the_system_knows_no_nameless_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delattr(scratch.os, "O_TMPFILE")
    kept = SpooledBuffer()
    kept.append(b"x" * 100_000)
    assert not list(tmp_path.iterdir())
    assert b"".join(kept.pieces()) == b"x" * 100_000
    kept.close()


def test_another_folder_is_taken_where_the_first_one_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nonexistent")
    kept = SpooledBuffer()
    kept.append(b"x" * 100_000)
    assert kept.beginning(3) == b"xxx"
    kept.close()
