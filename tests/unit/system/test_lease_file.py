"""The lease as the services of a node see it: it lasts for one epoch, until its end, and never by accident."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.system.lease_file import LeaseFile, LeaseWriter, boot_time


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lease")


def test_a_lease_lasts_for_its_epoch_until_its_end(path: str) -> None:
    writer, reader = LeaseWriter(path), LeaseFile(path)
    assert not reader.lasts(3)
    writer.write(3, boot_time() + 1000)
    assert reader.lasts(3) and not reader.lasts(2) and not reader.lasts(4)
    writer.write(3, boot_time() - 0.001)
    assert not reader.lasts(3)
    writer.close()


def test_what_no_other_node_can_take_needs_no_lease(path: str) -> None:
    assert LeaseFile(path).lasts(0)


def test_a_service_that_ends_or_begins_has_no_lease(path: str) -> None:
    writer, reader = LeaseWriter(path), LeaseFile(path)
    writer.write(3, boot_time() + 1000)
    writer.close()
    assert not reader.lasts(3)
    again = LeaseWriter(path)
    again.write(3, boot_time() + 1000)
    died = LeaseWriter(path)
    assert not reader.lasts(3)
    for it in (again, died):
        it.close()


def test_a_file_that_comes_later_is_read(path: str) -> None:
    reader = LeaseFile(path)
    assert not reader.lasts(3)
    writer = LeaseWriter(path)
    writer.write(3, boot_time() + 1000)
    assert reader.lasts(3)
    writer.close()


@given(st.integers(0, 23))
def test_half_a_record_is_no_lease(cut: int) -> None:
    """The bytes before `cut` are of the new record, the others of the old one."""
    import os
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/lease"
        records = []
        for epoch, end in ((3, boot_time() + 1000), (4, boot_time() + 2000)):
            writer = LeaseWriter(path)
            writer.write(epoch, end)
            records.append(Path(path).read_bytes())
            os.close(writer._fd)
        old, new = records
        Path(path).write_bytes(new[:cut] + old[cut:])
        found = LeaseFile(path)
        whole = cut == 0 or new[:cut] + old[cut:] in records
        assert (found.lasts(3) or found.lasts(4)) == whole
