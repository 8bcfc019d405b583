"""Messages in memory that cannot be changed."""

import os
from pathlib import Path

import pytest

from eqmail_core.system import sealed_file as module
from eqmail_core.system.sealed_file import sealed_file


@pytest.mark.parametrize("has_seals", [True, False], ids=["sealed memory", "nameless file"])
def test_it_reads_as_written_and_cannot_be_changed(
    has_seals: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not has_seals:
        monkeypatch.setattr(module, "_SEALS", 0)
    data = os.urandom(200_000)
    fd = sealed_file(data, str(tmp_path))
    try:
        assert os.pread(fd, 300_000, 0) == data
        assert os.fstat(fd).st_uid == os.geteuid()
        for change in (
            lambda: os.pwrite(fd, b"x", 0),
            lambda: os.pwrite(fd, b"x", len(data)),
            lambda: os.ftruncate(fd, 1),
        ):
            with pytest.raises(OSError, match=r"not permitted|Bad file|Invalid"):
                change()
    finally:
        os.close(fd)
    assert list(tmp_path.iterdir()) == []
