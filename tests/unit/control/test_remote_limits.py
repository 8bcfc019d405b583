"""Lines of remotelimits."""

import pytest

from eqmail_core.control.controls import Controls
from eqmail_core.control.remote_limits import UNLIMITED, limit_of, parse_limit, parse_limits


@pytest.mark.parametrize(
    ("text", "expected", "wrong"),
    [
        (b"concurrency=5 messages=20 rate=2/s", (5, 20, 0.5), []),
        (b" rate=30/m ", (0, 0, 2.0), []),
        (b"rate=4", (0, 0, 0.25), []),
        (b"", (0, 0, 0.0), []),
        (b"concurrency=0", (0, 0, 0.0), [b"concurrency=0"]),
        (b"concurrency=3/s speed=4 messages=x rate=1/y", (0, 0, 0.0), 4),
        (b"messages=" + b"9" * 5000, (0, 0, 0.0), 1),
    ],
)
def test_limits_are_parsed_from_words(text: bytes, expected: tuple[int, int, float], wrong: list[bytes] | int) -> None:
    limit, unknown = parse_limit(text)
    assert (limit.concurrency, limit.messages, limit.spacing_s) == expected
    assert unknown == wrong or len(unknown) == wrong


def test_a_domain_has_its_own_line_or_that_of_all_others() -> None:
    limits, wrong = parse_limits([b"Big.test:concurrency=9", b"*:concurrency=1", b"nonsense"])
    assert [limit_of(limits, host).concurrency for host in (b"big.test", b"sub.big.test")] == [9, 1]
    assert wrong == [b"nonsense"]
    assert limit_of(None, b"big.test") is UNLIMITED
    assert limit_of({}, b"big.test") is UNLIMITED


def test_ignored_lines_of_the_control_file_are_remarked() -> None:
    limits, remarks = Controls.remotelimits.parse(b"# hosts\na.test:concurrency=2 fast\n")
    assert limits is not None
    assert limits[b"a.test"].concurrency == 2
    assert remarks == ["'a.test:concurrency=2 fast' is not DOMAIN:concurrency=N messages=N rate=N/s"]
