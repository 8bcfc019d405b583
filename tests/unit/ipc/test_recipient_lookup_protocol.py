"""Questions about recipients, and their answers, on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.ipc import recipient_lookup_protocol as wire

TAGS = st.integers(0, 2**32 - 1)


@given(TAGS, st.binary(max_size=900).filter(lambda text: b"\0" not in text))
def test_questions_come_back(tag: int, local: bytes) -> None:
    assert wire.split_question(wire.question(tag, local + b"@h")) == (tag, local + b"@h")


@given(TAGS, st.sampled_from([b"K", b"D", b"Z"]))
def test_answers_come_back(tag: int, letter: bytes) -> None:
    assert wire.split_answer(wire.answer(tag, letter)) == (tag, letter)


@given(st.binary(max_size=50))
def test_nonsense_is_an_error_and_nothing_else(packet: bytes) -> None:
    for split in (wire.split_question, wire.split_answer):
        try:
            split(packet)
        except wire.LookupProtocolError:
            pass


@pytest.mark.parametrize("recipient", [b"", b"joe", b"jo\0e@h", b"j" * 2000 + b"@h"])
def test_what_is_no_recipient_is_no_question(recipient: bytes) -> None:
    with pytest.raises(wire.LookupProtocolError):
        wire.split_question(wire.question(1, recipient))
