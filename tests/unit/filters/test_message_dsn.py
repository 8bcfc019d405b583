"""A filter removes and adds recipients: DSN parameters stay with their recipients."""

from eqmail_core.dsn.parameters import parse_dsn
from eqmail_core.filters.message import FilteredMessage
from eqmail_core.filters.milter import packets as wire
from eqmail_core.system.spooled_buffer import SpooledBuffer

RECIPIENTS = [b"a@x", b"b@x", b"c@x"]


def draft(dsn: bytes) -> FilteredMessage:
    store = SpooledBuffer()
    store.append(b"Subject: x\n\nbody\n")
    return FilteredMessage(store, b"Subject: x\n\nbody\n", b"s@x", RECIPIENTS, parse_dsn(dsn))


def test_dsn_parameters_stay_with_their_recipients() -> None:
    it = draft(b"W E:id 0:n: 2:s:")
    assert it.remaining_dsn() == b"W E:id 0:n: 2:s:"
    it.apply([(wire.DELETE_RECIPIENT, 0, b"a@x", b""), (wire.ADD_RECIPIENT, 0, b"d@x", b"")])
    assert it.recipients == [b"b@x", b"c@x", b"d@x"]
    assert it.remaining_dsn() == b"W E:id 1:s:"
    it.close()


def test_without_dsn_parameters_none_are_added() -> None:
    it = draft(b"")
    assert it.remaining_dsn() == b""
    it.close()
