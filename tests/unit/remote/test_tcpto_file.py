"""The shared file of slow hosts."""

from pathlib import Path

import pytest

from eqmail_core.remote.tcpto import TcptoFile

V4, V6 = bytes([192, 0, 2, 1]), bytes(range(16))


@pytest.mark.parametrize("size", [1024, 1536, 2048])
def test_two_failures_are_remembered_until_a_success(tmp_path: Path, size: int) -> None:
    (tmp_path / "tcpto").write_bytes(bytes(size))
    table = TcptoFile(str(tmp_path / "tcpto"))
    table.record(V4, 2, 1000, True)
    assert not table.should_skip(V4, 2, 1001, 0)
    table.record(V4, 2, 1200, True)
    assert table.should_skip(V4, 2, 1201, 0)
    table.record(V4, 2, 1202, False)
    assert not table.should_skip(V4, 2, 1203, 0)
    assert (tmp_path / "tcpto").stat().st_size == size


def test_ipv6_hosts_share_the_table(tmp_path: Path) -> None:
    (tmp_path / "tcpto").write_bytes(bytes(2048))
    table = TcptoFile(str(tmp_path / "tcpto"))
    for now in (1000, 2000):
        table.record(V6, 10, now, True)
    assert table.should_skip(V6, 10, 2001, 0)


def test_an_ipv4_only_table_ignores_ipv6(tmp_path: Path) -> None:
    (tmp_path / "tcpto").write_bytes(bytes(1024))
    TcptoFile(str(tmp_path / "tcpto")).record(V6, 10, 1000, True)
    assert (tmp_path / "tcpto").read_bytes() == bytes(1024)


def test_without_a_file_the_feature_is_off(tmp_path: Path) -> None:
    table = TcptoFile(str(tmp_path / "none"))
    table.record(V4, 2, 1000, True)
    assert not table.should_skip(V4, 2, 1000, 0)
    assert not list(tmp_path.iterdir())


def test_clearing_keeps_the_size(tmp_path: Path) -> None:
    (tmp_path / "tcpto").write_bytes(b"\2" * 2048)
    TcptoFile(str(tmp_path / "tcpto")).clear()
    assert (tmp_path / "tcpto").read_bytes() == bytes(2048)
