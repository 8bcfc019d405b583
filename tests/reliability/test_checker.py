"""The checker notices what was planted: a loss, a copy, a misdelivery, a false bounce, damage, leftovers."""

import random
from collections import Counter
from pathlib import Path

import pytest

from eqmail_core.queue.format import journal
from tests.reliability import checker
from tests.reliability.checker import Bounce, Findings, Mail, judge, leftovers, read_mail
from tests.reliability.load import ACKNOWLEDGED, ME, NOBODY, REFUSED, UNKNOWN, USER, Sent, remote
from tests.reliability.messages import look_at, make
from tests.reliability.report import Report, Row
from tests.reliability.sink import BOUNCED, BROKEN_OFF, DELIVERED, Delivery

BOX, TWO = f"{USER}@{ME}", f"{USER}-two@{ME}"


def sent(identifier: str, *recipients: str, verdict: str = ACKNOWLEDGED) -> Sent:
    return Sent(identifier, recipients, verdict, 1.0)


def mail(**boxes: dict[str, int]) -> Mail:
    found = Mail()
    for box, counts in boxes.items():
        found.boxes[box] = Counter(counts)
    return found


def delivery(identifier: str, address: str, verdict: str = DELIVERED, whole: bool = True) -> Delivery:
    return Delivery(2.0, verdict, address, identifier, whole)


def wrong(findings: Findings) -> dict[str, list[str]]:
    return {name: found for name in Findings.WRONG if (found := getattr(findings, name))}


def test_a_correct_run_passes() -> None:
    items = [sent("a", BOX, TWO), sent("b", remote("b")), sent("c", NOBODY), sent("d", BOX, verdict=UNKNOWN)]
    found = mail(Maildir={"a": 2}, Two={"a": 1})
    found.bounces = [Bounce("c", (NOBODY,))]
    findings = judge(items, found, [delivery("b", remote("b"))])
    assert findings.passed and not findings.duplicates
    assert (findings.acknowledged, findings.recipients, findings.unknown) == (3, 4, 1)


@pytest.mark.parametrize(
    "item", [sent("a", BOX), sent("a", TWO), sent("a", remote("a")), sent("a", NOBODY)], ids=lambda item: item[1][0]
)
def test_a_loss_is_noticed(item: Sent) -> None:
    findings = judge([item], mail(), [])
    assert wrong(findings) == {"lost": [f"a for {item.recipients[0]}"]}


def test_one_lost_recipient_of_several_is_noticed() -> None:
    findings = judge([sent("a", BOX, remote("a"), NOBODY)], mail(Maildir={"a": 1}), [delivery("a", remote("a"))])
    assert findings.lost == [f"a for {NOBODY}"]


def test_interrupted_submissions_need_not_arrive() -> None:
    assert judge([sent("a", remote("a"))], mail(), [delivery("a", remote("a"), BROKEN_OFF)]).lost


def test_refused_messages_may_be_missing() -> None:
    findings = judge([sent("a", BOX, verdict=REFUSED), sent("b", BOX, verdict=UNKNOWN)], mail(), [])
    assert findings.passed and (findings.refused, findings.unknown) == (1, 1)


def test_copies_are_counted_by_kind() -> None:
    items = [sent("a", BOX), sent("b", remote("b")), sent("c", NOBODY), sent("d", remote("d"))]
    found = mail(Maildir={"a": 3})
    found.bounces = [Bounce("c", (NOBODY,))] * 2 + [Bounce("d", (remote("d"),))]
    deliveries = [
        *[delivery("b", remote("b"))] * 2,
        delivery("b", remote("b"), BROKEN_OFF),
        delivery("d", remote("d")),
        delivery("", remote("d"), BOUNCED),
    ]
    findings = judge(items, found, deliveries)
    assert findings.passed
    assert findings.duplicates == {
        "Maildir": 2,
        "bounce": 1,
        "remote": 1,
        "broken off and delivered": 1,
        "delivered and bounced": 1,
    }


def test_a_misdelivery_is_noticed() -> None:
    items = [sent("a", BOX), sent("b", remote("b"))]
    deliveries = [delivery("b", remote("b")), delivery("a", remote("b"))]
    findings = judge(items, mail(Maildir={"a": 1}, Two={"a": 1}, Fwd={"stranger": 1}), deliveries)
    assert findings.misdelivered == [f"a to {remote('b')}", "a in Two", "stranger in Fwd, unknown"]


@pytest.mark.parametrize(
    "bounce",
    [Bounce("a", (BOX,)), Bounce("a", (NOBODY,)), Bounce("stranger", (NOBODY,)), Bounce("b", (remote("b"),))],
    ids=["delivered", "not a recipient", "unknown message", "not refused there"],
)
def test_a_false_bounce_is_noticed(bounce: Bounce) -> None:
    found = mail(Maildir={"a": 1})
    found.bounces = [bounce]
    findings = judge([sent("a", BOX), sent("b", remote("b"))], found, [delivery("b", remote("b"))])
    assert list(wrong(findings)) == ["false_bounces"]


def test_damage_in_every_box_is_noticed(tmp_path: Path) -> None:
    whole = make("a", 300, random.Random(1))
    torn = whole.replace("a 1 ", "a 2 ")
    for box in (*checker.MAILDIRS, *checker.BOUNCES):
        (tmp_path / box / "new").mkdir(parents=True)
        (tmp_path / box / "new/1").write_text(f"Return-Path: <x@y>\n{whole}")
        (tmp_path / box / "new/2").write_text(torn)
        (tmp_path / box / "new/3").write_text(whole[:100])
    line = "From x Thu Jan  1 00:00:00 1970\nReturn-Path: <x@y>\n"
    (tmp_path / checker.MBOX).write_text(f"{line}{whole}\n{line}{torn}\n")
    found = read_mail(tmp_path)
    assert len(found.torn) == 2 * 6 + 1
    assert found.boxes["Maildir"] == {"a": 3} and found.boxes["Mbox"] == {"a": 2}


def test_a_bounce_is_read(tmp_path: Path) -> None:
    new = tmp_path / "Bounces/new"
    new.mkdir(parents=True)
    output = f"Hi. This is the qmail-send program.\n\n<{NOBODY}>:\nno mailbox\n\n<r0-a@b>:\nno\n\n"
    copy = make("a", 100, random.Random(1))
    (new / "1").write_text(
        f"Subject: failure notice\n\n{output}--- Below this line is a copy of the message.\n\n{copy}"
    )
    found = read_mail(tmp_path)
    assert found.bounces == [Bounce("a", (NOBODY, "r0-a@b"))] and not found.torn


def test_leftovers_are_noticed(tmp_path: Path) -> None:
    for path in ("lock/trigger", "lock/tcpto", "mess/3/17", "bounce/9", "pid/1.2.3"):
        (tmp_path / "queue" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "queue" / path).touch()
    head, crc = journal.header(1, 1)
    record, _ = journal.record(journal.RECORD, 1, 17, 0, 0, 0, b"Fa\0Tb\0", b"body", crc, 1)
    (tmp_path / "queue/journal").mkdir()
    (tmp_path / "queue/journal/segment.0").write_bytes(head)
    assert leftovers(tmp_path) == ["bounce/9", "mess/3/17", "pid/1.2.3"]
    (tmp_path / "queue/journal/segment.0").write_bytes(head + record + b"body")
    assert "1 messages in the journal" in leftovers(tmp_path)


def test_a_message_identifies_itself() -> None:
    data = make("a.1", 5000, random.Random(7)).encode()
    assert look_at(data) == ("a.1", True)
    assert look_at(data[:-30]) == ("a.1", False)
    assert look_at(data.replace(b"a.1 7 ", b"a.1 8 ")) == ("a.1", False)
    assert look_at(b"Subject: none\n\n") is None


def test_a_report_names_the_faults() -> None:
    report = Report("kill", 7, [Row("services", Findings(lost=["a for b"]), {"kills": 3})])
    assert not report.passed
    assert "a for b" in report.table() and report.table().endswith("FAILED, seed 7")
    assert '"lost": ["a for b"]' in report.json()
    assert Report("kill", 7, [Row("services", Findings(duplicates=Counter(remote=2)))]).passed
