"""Failed attempts of the recipients of a shared message: read as they were written, bounded, never trusted."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.queue.format.attempts import FailedAttempts
from eqmail_core.queue.format.replies import MAX_BYTES, parse_replies, render_replies

attempts = st.builds(
    FailedAttempts, st.integers(1, 99), st.integers(0, 2**33), st.sampled_from([b"refused (#4.4.1)", b"", b"a b"])
)


@given(st.dictionaries(st.integers(0, 3000), attempts, max_size=60))
def test_replies_survive_a_round_trip(replies: dict[int, FailedAttempts]) -> None:
    assert parse_replies(render_replies(replies)) == replies


def test_recipients_with_the_same_result_share_a_line() -> None:
    same = FailedAttempts(2, 7, b"Connected but\nconnection died.\n")
    assert render_replies(dict.fromkeys([0, 4, 5, 6, 9], same)) == b"2 7 0,4-6,9 Connected but connection died.\n"


def test_many_results_stay_within_the_bound_and_the_latest_are_kept() -> None:
    replies = {index: FailedAttempts(1, index, b"%d" % index + b"x" * 300) for index in range(1000)}
    text = render_replies(replies)
    assert len(text) <= MAX_BYTES and 999 in parse_replies(text) and 0 not in parse_replies(text)


@given(st.binary() | st.lists(st.sampled_from([b"1", b" ", b"-", b",", b"9999999999", b"\n"])).map(b"".join))
def test_any_text_is_read(text: bytes) -> None:
    assert len(parse_replies(text)) <= 65536 * (text.count(b",") + text.count(b"\n"))
