"""Questions about recipients, and their answers, on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.ipc import recipient_lookup_protocol as wire

TAGS = st.integers(0, 2**32 - 1)


@given(TAGS, st.binary(max_size=900).filter(lambda text: b"\0" not in text))
def test_questions_survive_a_round_trip(tag: int, local: bytes) -> None:
    assert wire.split_question(wire.question(tag, local + b"@h")) == (tag, local + b"@h")


@given(TAGS, st.sampled_from([b"K", b"D", b"Z"]))
def test_answers_survive_a_round_trip(tag: int, letter: bytes) -> None:
    assert wire.split_answer(wire.answer(tag, letter)) == (tag, letter)


@given(st.binary(max_size=50))
def test_malformed_input_raises_the_protocol_error_only(packet: bytes) -> None:
    for split in (wire.split_question, wire.split_answer):
        try:
            split(packet)
        except wire.LookupProtocolError:
            pass


@pytest.mark.parametrize("recipient", [b"", b"joe", b"jo\0e@h", b"j" * 2000 + b"@h"])
def test_an_invalid_recipient_is_not_asked_about(recipient: bytes) -> None:
    with pytest.raises(wire.LookupProtocolError):
        wire.split_question(wire.question(1, recipient))
