"""Reading logs: times of all loggers, what lines mean, messages by number and address, figures."""

import gzip
import json
import os
import time
from datetime import datetime
from pathlib import Path

import pytest

from eqmail_core.site.site import Site
from eqmail_setup.errors import EqmailError
from eqmail_setup.logs import sources
from eqmail_setup.logs.events import SmtpEvent, TracedMessage, follow
from eqmail_setup.logs.sources import find_sources, read_lines
from eqmail_setup.logs.summary import LogSummary
from eqmail_setup.logs.timestamps import TAI64N_BASE, split_time
from eqmail_setup.logs.trace import find_messages

NOW = 1_796_133_600.0
LOCAL = datetime.fromtimestamp(NOW)

LOG = b"""new msg 7
info msg 7: bytes 212 from <ann@example.org> qp 42 uid 0
starting delivery 1: msg 7 to local joe@example.net
starting delivery 2: msg 7 to remote kim@far.example
status: local 1/10 remote 1/20
delivery 1: success: did_1+0+0/
delivery 2: deferral: Sorry,_I_wasn't_able_to_establish_an_SMTP_connection._(#4.4.1)/
starting delivery 3: msg 7 to remote kim@far.example
delivery 3: failure: 192.0.2.1_does_not_like_recipient./Remote_host_said:_550_5.1.1_no/
bounce msg 7 qp 50
end msg 7
new msg 7
info msg 7: bytes 100 from <> qp 50 uid 1
starting delivery 4: msg 7 to local ann@example.org
delivery 4: success: did_1+0+0/
end msg 7
qmail-smtpd: refused (553 no relay): x@spam.example from 192.0.2.9 to joe@other.example helo spam
nonsense
"""


@pytest.mark.parametrize(
    ("line", "when", "text"),
    [
        (b"@%016x%08x new msg 1" % (int(NOW) + TAI64N_BASE, 500_000_000), NOW + 0.5, b"new msg 1"),
        (b"2026-12-01_14:00:00.25000 new msg 1", NOW + 0.25, b"new msg 1"),
        (f"{LOCAL:%Y-%m-%d %H:%M:%S}.500000 new msg 1".encode(), NOW + 0.5, b"new msg 1"),
        (b"2026-12-01T15:00:00+01:00 host qmail-send[12]: new msg 1", NOW, b"new msg 1"),
        (f"{LOCAL:%b %e %H:%M:%S} host qmail: {NOW + 0.125:.6f} new msg 1".encode(), NOW + 0.125, b"new msg 1"),
        (f"{LOCAL:%b %e %H:%M:%S} host qmail-send: new msg 1".encode(), NOW, b"new msg 1"),
        (b"1796133600.250000 host qmail-send[12]: new msg 1", NOW + 0.25, b"new msg 1"),
        (b"1796133600.250000 new msg 1", NOW + 0.25, b"new msg 1"),
        (b"new msg 1", None, b"new msg 1"),
        (b"2026-99-99 99:99:99 x", None, b"2026-99-99 99:99:99 x"),
        (b"Feb 30 12:00:00 host x: y", None, b"Feb 30 12:00:00 host x: y"),
        (b"\xff\xfe", None, b"\xff\xfe"),
    ],
)
def test_the_time_of_every_logger_is_understood(line: bytes, when: float | None, text: bytes) -> None:
    assert split_time(line, NOW) == (when, text)


TEXT = b"delivery 2: deferral: later/"


@pytest.mark.parametrize(
    "head",
    [
        b"@%016x%08x " % (int(NOW) + TAI64N_BASE, 0),
        b"2026-12-01_14:00:00.00000 ",
        f"{LOCAL:%Y-%m-%d %H:%M:%S}.000000 ".encode(),
        b"2026-12-01T15:00:00+01:00 host qmail-send[12]: ",
        f"{LOCAL:%b %e %H:%M:%S} host qmail: {NOW:.6f} ".encode(),
        f"{LOCAL:%b %e %H:%M:%S} host qmail-send: ".encode(),
        b"1796133600.000000 host qmail-send[12]: ",
        b"1796133600.000000 ",
    ],
)
def test_the_result_of_a_delivery_is_no_host_with_a_tag(head: bytes) -> None:
    assert split_time(head + TEXT, NOW) == (NOW, TEXT)


def test_a_saved_journal_is_read(tmp_path: Path) -> None:
    site, micro = Site(home=str(tmp_path)), int(NOW * 1e6)
    binary = b"8=\n\n"
    exported = b"__CURSOR=s=1\n__REALTIME_TIMESTAMP=%d\nMESSAGE=new msg 7\nBLOB\n%b%b\n\n" % (
        micro,
        len(binary).to_bytes(8, "little"),
        binary,
    )
    exported += b"__CURSOR=s=2\n__REALTIME_TIMESTAMP=%d\nMESSAGE=end msg 7\n\n__CURSOR=s=3\nMESS" % micro
    (tmp_path / "exported").write_bytes(exported)
    entries = [{"__REALTIME_TIMESTAMP": str(micro), "MESSAGE": text} for text in ("new msg 7", [*b"end msg 7"], None)]
    (tmp_path / "as-json").write_text("".join(f"{json.dumps(entry)}\n" for entry in entries[:2]) + '{"broken\n')
    for name in ("exported", "as-json"):
        found = list(read_lines(find_sources(site, [str(tmp_path / name)]), NOW - 10, NOW))
        assert found == [(NOW, b"new msg 7\n"), (NOW, b"end msg 7\n")], name


def test_a_trace_says_what_an_administrator_did() -> None:
    log = b"""new msg 7
qmail-send: audit: uid 0 hold msg 7 from <a@x>: done
end msg 7
qmail-send: audit: uid 0 delete msg 7 from <a@x>: done
new msg 7
end msg 7
"""
    first, second = list(follow((NOW, line) for line in log.splitlines()))
    assert isinstance(first, TracedMessage) and isinstance(second, TracedMessage)
    assert [step.kind for step in first.steps] == ["queued", "hold", "finished", "delete"]
    assert [step.kind for step in second.steps] == ["queued", "finished"]


def test_a_date_of_syslog_is_never_in_the_future() -> None:
    december = datetime(2026, 12, 31, 23, 0, 0).timestamp()
    january = datetime(2027, 1, 1, 1, 0, 0).timestamp()
    assert split_time(b"Dec 31 23:00:00 host x: y", january)[0] == december


def lines() -> list[tuple[float | None, bytes]]:
    return [(NOW + count, line) for count, line in enumerate(LOG.splitlines(keepends=True))]


def test_a_message_is_followed_from_its_beginning_to_its_end_though_its_number_comes_back() -> None:
    first, bounce, event = list(follow(lines()))
    assert isinstance(first, TracedMessage)
    assert (first.number, first.sender, first.size, first.is_over) == (7, b"ann@example.org", 212, True)
    kinds = ["queued", "attempt", "attempt", "success", "deferral", "attempt", "failure", "bounced", "finished"]
    assert [step.kind for step in first.steps] == kinds
    assert isinstance(bounce, TracedMessage)
    assert bounce.recipients() == {b"ann@example.org"}
    assert isinstance(event, SmtpEvent)
    assert (event.what, event.sender, event.client) == (b"refused (553 no relay)", b"x@spam.example", b"192.0.2.9")


def test_both_grammars_of_the_log_mean_the_same() -> None:
    head = LOG.replace(b"starting", b"qmail-send: starting").replace(b"\ndelivery", b"\nqmail-send: delivery")
    head = head.replace(b"new msg", b"qmail-send: notice: new msg").replace(b"end msg", b"qmail-send: notice: end msg")
    head = head.replace(b"info msg", b"qmail-send: info: msg").replace(b"bounce msg", b"qmail-send: notice: bounce msg")
    found = [item for item in follow((NOW, line) for line in head.splitlines()) if isinstance(item, TracedMessage)]
    expected = [item for item in follow((NOW, line) for line in LOG.splitlines()) if isinstance(item, TracedMessage)]
    assert [item.steps for item in found] == [item.steps for item in expected]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("7", 2),
        ("ann@example.org", 2),
        ("KIM@far.example", 1),
        ("@far.example", 1),
        ("joe@other.example", 1),
        ("nobody@x", 0),
        ("8", 0),
    ],
)
def test_messages_are_found_by_number_and_address(query: str, count: int) -> None:
    assert len(list(find_messages(follow(lines()), query))) == count


def test_the_summary_counts_results_and_reasons() -> None:
    figures = LogSummary()
    figures.add_all(follow(lines()))
    value = figures.value(10)
    assert (figures.messages, figures.bytes, figures.bounces) == (2, 312, 1)
    assert figures.deliveries == {("local", "success"): 2, ("remote", "deferral"): 1, ("remote", "failure"): 1}
    assert list(figures.reasons["deferral"]) == ["4.4.1 Sorry, I wasn't able to establish an SMTP connection."]
    assert value["recipient_domains"] == {"far.example": 2, "example.net": 1, "example.org": 1}
    assert list(figures.smtp) == ["refused (N no relay)"]


def test_a_folder_is_read_from_its_oldest_file_and_old_lines_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "log/qmail-send"
    folder.mkdir(parents=True)
    (folder / "@400000000000000000000000.s").write_bytes(b"1796130000.0 old\n1796133000.0 rotated\n")
    (folder / "current").write_bytes(b"1796133500.0 newest\n  continued\n")
    (folder / "lock").touch()
    site = Site(home=str(tmp_path))
    [source] = find_sources(site, [str(folder)])
    assert source.files[-1].endswith("current")
    assert [text for _, text in read_lines([source], NOW - 1000, NOW)] == [b"rotated\n", b"newest\n", b"  continued\n"]
    with gzip.open(tmp_path / "mail.log.gz", "wb") as file:
        file.write(b"1796133500.0 packed\n")
    found = find_sources(site, [str(tmp_path / "mail.log.gz")])
    assert [text for _, text in read_lines(found, NOW - 1000, NOW)] == [b"packed\n"]
    os.utime(tmp_path / "mail.log.gz", (1, 1))
    assert list(read_lines(found, NOW - 1000, NOW)) == [], "a file that was not written since is not opened"


def test_logs_are_found_in_the_usual_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FOLDERS", ("{home}/log/*",))
    monkeypatch.setattr(sources, "FILES", (str(tmp_path / "mail.log"),))
    site = Site(home=str(tmp_path))
    with pytest.raises(EqmailError, match="--file"):
        find_sources(site, [], has_journal=False)
    assert [source.name for source in find_sources(site, [], has_journal=True)] == ["journal"]
    (tmp_path / "mail.log").touch()
    assert [source.name for source in find_sources(site, [])] == [str(tmp_path / "mail.log")]
    (tmp_path / "log/main").mkdir(parents=True)
    (tmp_path / "log/main/current").touch()
    assert [source.name for source in find_sources(site, [])] == [str(tmp_path / "log/main")]
    for path in ("none", "log"):
        with pytest.raises(EqmailError):
            find_sources(site, [str(tmp_path / path)])


def test_ten_thousand_messages_are_followed_one_after_the_other() -> None:
    text = b"new msg %d\ninfo msg %d: bytes 1 from <a@x> qp 1 uid 1\nend msg %d\n"
    many = ((time.time(), line) for number in range(10_000) for line in (text % ((number,) * 3)).splitlines())
    assert sum(1 for _ in follow(many)) == 10_000
