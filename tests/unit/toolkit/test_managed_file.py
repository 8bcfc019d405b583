"""A checksum distinguishes an unchanged generated file from an edited one."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_setup.installation.managed_file import PLACE, Origin, origin_of, with_checksum

TEXT = b"#!/bin/sh\n" + PLACE + b"echo hello\n"


def test_an_untouched_file_is_ours() -> None:
    assert origin_of(with_checksum(TEXT)) is Origin.MANAGED


@given(st.data())
def test_any_changed_byte_outside_the_seal_is_an_edit(data: st.DataObject) -> None:
    whole = with_checksum(TEXT)
    start, end = whole.index(b"# Written"), whole.index(b"\n", whole.index(b"# Written"))
    place = data.draw(st.integers(0, len(whole) - 1).filter(lambda n: not start <= n <= end))
    byte = data.draw(st.integers(0, 255).filter(lambda n: n != whole[place]))
    assert origin_of(whole[:place] + bytes([byte]) + whole[place + 1 :]) is Origin.EDITED


@given(st.binary(min_size=1))
def test_added_lines_are_an_edit(more: bytes) -> None:
    assert origin_of(with_checksum(TEXT) + more) is Origin.EDITED


def test_files_without_a_checksum_are_foreign_and_compiled_programs_are_recognized() -> None:
    assert origin_of(b"#!/bin/sh\nexec true\n") is Origin.FOREIGN
    assert origin_of(b"") is Origin.FOREIGN
    assert origin_of(b"\x7fELF\x02\x01") is Origin.BINARY
