"""The record layouts of the table of slow hosts."""

import pytest

from eqmail_core.remote.tcpto_table import (
    EQMAIL_32,
    EQMAIL_64,
    INET,
    INET6,
    QMAIL,
    Records,
    TcptoEntry,
    parse_table,
    records_of,
)

V4 = TcptoEntry(INET, 3, 1_700_000_000, bytes([192, 0, 2, 1]))
V6 = TcptoEntry(INET6, 10, 1_700_000_000, bytes(range(16)))


@pytest.mark.parametrize(("records", "size"), [(EQMAIL_64, 2048), (EQMAIL_32, 1536), (QMAIL, 1024)])
def test_the_layout_follows_from_the_size_of_the_table(records: Records, size: int) -> None:
    table = records.render(V4) + bytes(size - records.size)
    assert records_of(table) is records
    assert parse_table(table)[0] == V4
    assert len(parse_table(table)) == 64


@pytest.mark.parametrize("records", [EQMAIL_64, EQMAIL_32])
def test_ipv6_survives_where_the_layout_holds_it(records: Records) -> None:
    assert records.parse(records.render(V6)) == V6


def test_the_64_bit_record_is_laid_out_as_the_c_struct() -> None:
    assert EQMAIL_64.render(TcptoEntry(INET, 2, 258, bytes([10, 0, 0, 1]))) == (
        b"\2\2" + bytes(6) + (258).to_bytes(8, "little") + bytes([10, 0, 0, 1]) + bytes(12)
    )


def test_the_qmail_record_keeps_the_time_in_bytes_8_to_11() -> None:
    assert QMAIL.render(TcptoEntry(INET, 2, 258, bytes([10, 0, 0, 1]))) == (
        bytes([10, 0, 0, 1]) + b"\2" + bytes(3) + b"\2\1\0\0" + bytes(4)
    )


@pytest.mark.parametrize("table", [b"", b"x", bytes(31), bytes(33)])
def test_a_cut_table_has_only_its_complete_records(table: bytes) -> None:
    assert len(parse_table(table)) == len(table) // 32
