"""Making a constant database as a whole."""

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.access.rcpthosts_database import compile_domains, lists_domain
from eqmail_core.system.cdb import CdbNotWritten, open_cdb, write_cdb
from eqmail_core.tcpserver.rules_database import compile_rules, find_rule


def reference_cdb(records: list[tuple[bytes, bytes]]) -> bytes:
    """The format as its author describes it, without regard to speed."""
    body = b""
    slots: list[list[tuple[int, int]]] = [[] for _ in range(256)]
    for key, data in records:
        number = 5381
        for byte in key:
            number = ((number * 33) ^ byte) & 0xFFFFFFFF
        slots[number & 255].append((number, 2048 + len(body)))
        body += len(key).to_bytes(4, "little") + len(data).to_bytes(4, "little") + key + data
    header, tables = b"", b""
    for entries in slots:
        size = 2 * len(entries)
        table = [(0, 0)] * size
        for number, position in entries:
            place = (number >> 8) % size
            while table[place] != (0, 0):
                place = (place + 1) % size
            table[place] = (number, position)
        header += (2048 + len(body) + len(tables)).to_bytes(4, "little") + size.to_bytes(4, "little")
        tables += b"".join(a.to_bytes(4, "little") + b.to_bytes(4, "little") for a, b in table)
    return header + body + tables


@given(st.lists(st.tuples(st.binary(max_size=6), st.binary(max_size=6)), max_size=60))
def test_the_bytes_are_those_of_the_original_format(
    tmp_path_factory: pytest.TempPathFactory, records: list[tuple[bytes, bytes]]
) -> None:
    folder = tmp_path_factory.mktemp("cdb")
    write_cdb(f"{folder}/x", f"{folder}/y", records)
    assert (folder / "x").read_bytes() == reference_cdb(records)
    assert os.listdir(folder) == ["x"]


def test_the_first_of_equal_keys_is_found(tmp_path: Path) -> None:
    write_cdb(f"{tmp_path}/x", f"{tmp_path}/y", [(b"a", b"1"), (b"a", b"2")])
    database = open_cdb(f"{tmp_path}/x")
    assert database is not None
    with database:
        assert database.get(b"a") == b"1"
        assert database.get(b"b") is None


def test_failures_while_writing_leave_no_file(tmp_path: Path) -> None:
    def records() -> Iterator[tuple[bytes, bytes]]:
        yield b"a", b"1"
        raise OSError("the source broke")

    with pytest.raises(OSError, match="the source broke"):
        write_cdb(f"{tmp_path}/x", f"{tmp_path}/y", records())
    assert os.listdir(tmp_path) == []


def test_two_makers_take_turns(tmp_path: Path) -> None:
    target, temporary = f"{tmp_path}/x", f"{tmp_path}/y"
    second: list[Thread] = []

    def records() -> Iterator[tuple[bytes, bytes]]:
        second.append(Thread(target=write_cdb, args=(target, temporary, [(b"a", b"second")])))
        second[0].start()
        second[0].join(0.05)
        assert second[0].is_alive()
        yield b"a", b"first"

    write_cdb(target, temporary, records())
    second[0].join()
    assert Path(target).read_bytes() == reference_cdb([(b"a", b"second")])
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(("target", "temporary", "step"), [("x", "no/y", "create"), ("folder", "y", "move")])
def test_the_failed_step_is_reported(tmp_path: Path, target: str, temporary: str, step: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CdbNotWritten) as failed:
        write_cdb(f"{tmp_path}/{target}", f"{tmp_path}/{temporary}", [])
    assert failed.value.step == step
    assert os.listdir(tmp_path) == ["folder"]


def test_listed_domains_are_found_in_any_case(tmp_path: Path) -> None:
    path = f"{tmp_path}/d.cdb"
    assert not lists_domain(path, b"a.org")
    compile_domains(path, f"{tmp_path}/d.tmp", b"# comment\nA.org \n\n.sub.org")
    assert lists_domain(path, b"a.ORG")
    assert lists_domain(path, b".sub.org")
    assert not lists_domain(path, b"x.sub.org")


def test_a_damaged_list_of_domains_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "d.cdb").write_bytes(b"short")
    with pytest.raises(OSError, match="no database"):
        lists_domain(f"{tmp_path}/d.cdb", b"a.org")


def test_the_most_specific_rule_decides(tmp_path: Path) -> None:
    path = f"{tmp_path}/rules.cdb"
    compile_rules(path, f"{path}.tmp", [b'10.:allow,RELAYCLIENT=""\n', b"10.0.0.1-2:deny\n", b":allow\n"])
    inside = find_rule(path, b"10.1.2.3", None, None)
    assert inside is not None
    assert (inside.denies, inside.variables) == (False, {b"RELAYCLIENT": b""})
    denied = find_rule(path, b"10.0.0.2", b"host.example", None)
    assert denied is not None
    assert denied.denies


def test_without_rules_the_decision_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_rule(f"{tmp_path}/rules.cdb", b"10.0.0.1", None, None)


def test_content_and_name_are_on_the_disk_in_this_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(fd: int) -> None:
        done.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "content")
        fsync(fd)

    def note_rename(old: str, new: str) -> None:
        done.append("rename")
        rename(old, new)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    write_cdb(f"{tmp_path}/cdb", f"{tmp_path}/cdb.tmp", [(b"key", b"data")])
    assert done == ["content", "rename", "folder"]


def test_making_and_reading_leave_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    write_cdb(f"{tmp_path}/cdb", f"{tmp_path}/cdb.tmp", [(b"key", b"data")])
    reader = open_cdb(f"{tmp_path}/cdb")
    assert reader is not None and reader.get(b"key") == b"data"
    reader.close()
    with pytest.raises(CdbNotWritten):
        write_cdb(f"{tmp_path}/nowhere/cdb", f"{tmp_path}/nowhere/cdb.tmp", [])
    assert len(os.listdir("/proc/self/fd")) == before


def test_no_database_is_mapped_into_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped file that is cut off while it is read or written ends the process with SIGBUS."""
    seen: list[bool] = []
    fsync = os.fsync

    def look() -> None:
        seen.append(str(tmp_path) in Path("/proc/self/maps").read_text())

    def look_and_sync(fd: int) -> None:
        look()
        fsync(fd)

    def records() -> Iterator[tuple[bytes, bytes]]:
        for count in range(2000):
            yield b"%d" % count, b"x" * 100
        look()

    monkeypatch.setattr(os, "fsync", look_and_sync)
    write_cdb(f"{tmp_path}/cdb", f"{tmp_path}/cdb.tmp", records())
    reader = open_cdb(f"{tmp_path}/cdb")
    assert reader is not None and reader.get(b"7") == b"x" * 100
    look()
    reader.close()
    assert len(seen) == 4 and not any(seen)
