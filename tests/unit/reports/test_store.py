"""Identical rows are counted once a day, within bounds, by any number of processes."""

from pathlib import Path

import pytest

from eqmail_core.reports import store as module
from eqmail_core.reports.store import DAY_S, MAX_DAYS, MAX_ROW_BYTES, SUPPRESSED_S, ReportStore, StoreError

NOW = 20000.5 * DAY_S


def test_identical_rows_are_one_row_with_a_count(tmp_path: Path) -> None:
    one, other = (ReportStore(str(tmp_path / "counts")) for _ in range(2))
    for store in (one, other, one):
        assert store.count(NOW, "a.test", "policy", "row")
    assert one.count(NOW, "a.test", "policy", "another")
    assert other.rows(20000, "a.test") == [("policy", "row", 3), ("policy", "another", 1)]
    assert other.overview() == [(20000, "a.test", 4)]
    assert (tmp_path / "counts").stat().st_mode & 0o777 == 0o600


def test_a_day_is_due_when_it_is_over_and_gone_when_it_is_finished(tmp_path: Path) -> None:
    store = ReportStore(str(tmp_path / "counts"))
    store.count(NOW, "a.test", "policy", "row")
    assert store.due(NOW) == []
    assert store.due(NOW + DAY_S) == [(20000, "a.test")]
    store.finish(20000, "a.test", NOW + DAY_S, [("d@a.test", "sent")])
    assert store.due(NOW + DAY_S) == [] and store.rows(20000, "a.test") == []
    assert store.sent() == [(20000, "a.test", "d@a.test", int(NOW + DAY_S), "sent")]


def test_rows_are_bounded_by_domain_and_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ROWS_OF_DOMAIN", 3)
    monkeypatch.setattr(module, "MAX_ROWS", 5)
    store = ReportStore(str(tmp_path / "counts"))
    assert [store.count(NOW, "a.test", "p", str(number)) for number in range(4)] == [True, True, True, False]
    assert store.count(NOW, "a.test", "p", "0"), "a known row is still counted"
    assert [store.count(NOW, "b.test", "p", str(number)) for number in range(3)] == [True, True, False]
    assert store.count(NOW + DAY_S, "b.test", "p", "0")
    assert not store.count(NOW, "c.test", "p", "x" * MAX_ROW_BYTES)


def test_old_days_are_dropped(tmp_path: Path) -> None:
    store = ReportStore(str(tmp_path / "counts"))
    store.count(NOW, "a.test", "p", "row")
    store.count(NOW + MAX_DAYS * DAY_S, "b.test", "p", "row")
    assert [domain for _, domain, _ in store.overview()] == ["b.test"]


def test_an_address_gets_nothing_for_thirty_days(tmp_path: Path) -> None:
    store = ReportStore(str(tmp_path / "counts"))
    store.suppress("d@a.test", NOW)
    assert store.suppressed(NOW) == {"d@a.test": int(NOW) + SUPPRESSED_S}
    assert store.suppressed(NOW + SUPPRESSED_S) == {}


def test_a_damaged_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    (tmp_path / "counts").write_bytes(b"no database" * 1000)
    for path in (tmp_path / "counts", tmp_path / "none/counts"):
        with pytest.raises(StoreError, match="counts"):
            ReportStore(str(path))


def test_the_secret_stays(tmp_path: Path) -> None:
    first = ReportStore(str(tmp_path / "counts")).secret()
    assert len(first) == 48 and ReportStore(str(tmp_path / "counts")).secret() == first
