"""Why recipients wait, how often they were tried: kept by the scheduler in a file of its own, over restarts."""

import os
from pathlib import Path

import pytest

from eqmail_core.queue.admin.attempts import load_attempts
from eqmail_core.queue.format import attempts as form
from eqmail_core.queue.format.attempts import FailedAttempts
from eqmail_core.scheduler import attempt_log
from eqmail_core.scheduler.attempt_log import AttemptLog
from eqmail_core.scheduler.memory.spill import FIRST_ATTEMPT_S
from tests.support.scheduler_harness import NOW, SchedulerHarness

REFUSED = b"Connected to 192.0.2.1 but greeting failed.\nRemote host said: 421 busy\n"


def attempts_of(harness: SchedulerHarness) -> AttemptLog:
    """The log of a scheduler that starts now."""
    os.makedirs(f"{harness.paths.root}/lock", exist_ok=True)
    log = AttemptLog(harness.queue_files, harness.worker)
    harness.scheduler.results.on_failed_attempt = log.note
    log.open(int(harness.now))
    return log


@pytest.fixture
def harness(tmp_path: Path) -> SchedulerHarness:
    return SchedulerHarness(tmp_path)


def test_a_deferral_is_kept_with_its_reason_and_the_number_of_attempts(harness: SchedulerHarness) -> None:
    log = attempts_of(harness)
    harness.old(7, b"s@x", age_s=1000, remote=b"Ta@other.net\0Tb@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"a@other.net", b"K")
    harness.report(b"b@other.net", b"Z", REFUSED)
    log.write(NOW)
    reason = b"Connected to 192.0.2.1 but greeting failed. Remote host said: 421 busy"
    assert load_attempts(harness.paths) == {(7, NOW - 1000): {(1, 13): FailedAttempts(1, NOW, reason)}}
    harness.turn(100_000)
    harness.report(b"b@other.net", b"Z", b"slow")
    log.write(NOW + 100_000)
    assert load_attempts(harness.paths)[7, NOW - 1000] == {(1, 13): FailedAttempts(2, NOW + 100_000, b"slow")}


def test_mail_that_is_delivered_at_its_first_attempt_leaves_nothing(harness: SchedulerHarness) -> None:
    log = attempts_of(harness)
    harness.admit(9, b"Fs@x\0Tj@example.org\0Ta@other.net\0")
    harness.turn()
    harness.report(b"j@example.org", b"K")
    harness.report(b"a@other.net", b"D", b"no")
    log.write(NOW)
    assert os.path.getsize(harness.paths.attempts) == 0


def test_a_message_that_was_deferred_in_memory_is_known_on_the_disk(harness: SchedulerHarness) -> None:
    log = attempts_of(harness)
    serial = harness.admit(9, b"Fs@x\0Ta@other.net\0Tb@other.net\0")
    harness.turn()
    harness.report(b"a@other.net", b"K")
    harness.report(b"b@other.net", b"Z", b"later")
    harness.turn(FIRST_ATTEMPT_S)
    harness.written(serial, 9)
    log.write(NOW)
    birth, offset = int(os.stat(harness.paths.info(9)).st_mtime), harness.files(9)["remote"].index(b"Tb@other.net")
    assert load_attempts(harness.paths) == {(9, birth): {(1, offset): FailedAttempts(1, NOW, b"later")}}


def test_a_start_forgets_what_has_ended_and_keeps_the_rest(harness: SchedulerHarness) -> None:
    attempts_of(harness)
    harness.old(7, b"s@x", age_s=9000, remote=b"Ta@other.net\0")
    lines = [
        form.render_attempts((7, NOW - 9000), (1, 0), FailedAttempts(2, NOW - 8000, b"first")),
        form.render_attempts((8, NOW - 9000), (1, 0), FailedAttempts(1, NOW - 8000, b"has ended")),
        form.render_attempts((7, NOW - 99_000), (0, 0), FailedAttempts(1, NOW - 90_000, b"an earlier bearer")),
        form.render_attempts((7, NOW - 9000), (1, 0), FailedAttempts(1, NOW - 7000, b"second")),
        b"7 170000",
    ]
    Path(harness.paths.attempts).write_bytes(b"".join(lines))
    log = attempts_of(harness)
    found = {(7, NOW - 9000): {(1, 0): FailedAttempts(3, NOW - 7000, b"second")}}
    assert load_attempts(harness.paths) == found
    assert Path(harness.paths.attempts).read_bytes().count(b"\n") == 1
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"a@other.net", b"Z", b"third")
    log.write(NOW)
    assert load_attempts(harness.paths)[7, NOW - 9000][1, 0] == FailedAttempts(4, NOW, b"third")


def test_the_file_is_bounded_and_what_was_tried_last_stays(
    harness: SchedulerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_log, "MAX_BYTES", 4000)
    monkeypatch.setattr(attempt_log, "_KEPT_BYTES", 2000)
    log = attempts_of(harness)
    for number in range(1, 101):
        harness.old(number, b"s@x", remote=b"Ta%d@other.net\0" % number)
    harness.scheduler.channels[1].limit = 100
    harness.scanner.find_old(NOW)
    harness.turn()
    assert harness.running
    sizes = []
    while harness.running:
        harness.report(harness.running[0], b"Z", b"x" * 30)
        log.write(int(harness.now))
        sizes.append(os.path.getsize(harness.paths.attempts))
        harness.turn(100)
    assert max(sizes) <= 4000
    assert load_attempts(harness.paths)


def test_lines_wait_while_the_file_is_written_anew(harness: SchedulerHarness) -> None:
    attempts_of(harness)
    Path(harness.paths.attempts).write_bytes(
        form.render_attempts((8, NOW), (1, 0), FailedAttempts(1, NOW - 8000, b"has ended"))
    )
    harness.worker.eager = False
    log = attempts_of(harness)
    harness.old(7, b"s@x", remote=b"Ta@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    finish = harness.worker.begin()
    harness.report(b"a@other.net", b"Z", b"later")
    log.write(NOW)
    assert load_attempts(harness.paths) == {}
    finish()
    assert load_attempts(harness.paths) == {(7, NOW): {(1, 0): FailedAttempts(1, NOW, b"later")}}


def test_without_the_file_mail_is_delivered_all_the_same(harness: SchedulerHarness) -> None:
    log = AttemptLog(harness.queue_files, harness.worker)
    harness.scheduler.results.on_failed_attempt = log.note
    log.open(NOW)
    harness.old(7, b"s@x", remote=b"Ta@other.net\0")
    harness.scanner.find_old(NOW)
    harness.turn()
    harness.report(b"a@other.net", b"Z", b"later")
    log.write(NOW)
    assert load_attempts(harness.paths) == {}


@pytest.mark.parametrize(
    "reason", [b"", b"two\nlines\n", b"\x1b[31mred", b"a" * 5000, "é \udcff".encode("utf-8", "surrogateescape")]
)
def test_any_reason_is_one_line_that_is_read_again(reason: bytes) -> None:
    line = form.render_attempts((1, 2), (0, 3), FailedAttempts(1, 5, reason))
    assert line.count(b"\n") == 1
    assert b"\x1b" not in line
    [(_, found)] = form.parse_attempts(line).items()
    assert found[0, 3].tries == 1
    assert len(found[0, 3].reason) <= form.MAX_REASON


def test_lines_of_another_form_are_passed_over() -> None:
    good = form.render_attempts((1, 2), (0, 3), FailedAttempts(1, 5, b"why"))
    bad = b"\nnonsense\n1 2 x 3 1 5 why\n1 2 l 3 -\n\xff\xfe\n" + good + b"1 2 l 3 1 9 torn"
    assert form.parse_attempts(bad) == {(1, 2): {(0, 3): FailedAttempts(1, 5, b"why")}}
