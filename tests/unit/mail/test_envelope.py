"""Envelopes are read as they were rendered, in both forms."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.mail.envelope import Envelope, split_dsn

addresses = st.binary(max_size=20).filter(lambda text: b"\0" not in text)
envelopes = st.builds(
    Envelope, addresses, st.lists(addresses, min_size=1, max_size=4), st.sampled_from([b"", b"W U", b"W E:id 0:s:"])
)


@given(envelopes)
def test_an_envelope_is_read_as_it_was_rendered(envelope: Envelope) -> None:
    assert Envelope.parse(envelope.render()) == envelope


@given(envelopes)
def test_records_are_the_rendered_form_without_its_end(envelope: Envelope) -> None:
    records, dsn = split_dsn(envelope.render())
    assert dsn == envelope.dsn
    assert Envelope.parse(records) == Envelope(envelope.sender, envelope.recipients)


def test_the_bytes_are_those_that_qmail_queue_reads() -> None:
    assert Envelope(b"s@x", [b"a@y", b"b@z"]).render() == b"Fs@x\0" + b"Ta@y\0" + b"Tb@z\0" + b"\0"
