"""DSN parameters: text form, invalid input, and envelopes with and without them."""

from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.dsn.parameters import DsnParameters, is_envid, is_orcpt, parse_dsn, relayed_dsn, render_dsn, with_dsn
from eqmail_core.dsn.xtext import decode_xtext, encode_xtext
from eqmail_core.mail.envelope import Envelope, split_dsn
from eqmail_core.queue.format.envelope import scan_envelope
from eqmail_core.queue.format.exit_codes import OK

XTEXT = st.binary(min_size=1, max_size=30).map(encode_xtext)
ORCPT = st.sampled_from([b"rfc822", b"utf-8", b"X-400"]).flatmap(
    lambda kind: XTEXT.map(lambda text: kind + b";" + text)
)
NEWS = st.sampled_from([b"", b"n", b"s", b"f", b"d", b"sf", b"sd", b"fd", b"sfd"])
KEYS = st.integers(0, 10**6).flatmap(lambda at: st.sampled_from([b"%d" % at, b"l%d" % at, b"r%d" % at]))
DSN = st.builds(
    lambda is_utf8, ret, envid, recipients: _made(is_utf8, ret, envid, recipients),
    st.booleans(),
    st.sampled_from([b"", b"F", b"H"]),
    st.just(b"") | XTEXT,
    st.dictionaries(KEYS, st.tuples(NEWS, st.just(b"") | ORCPT), max_size=4),
)


def _made(is_utf8: bool, ret: bytes, envid: bytes, recipients: dict[bytes, tuple[bytes, bytes]]) -> DsnParameters:
    dsn = DsnParameters(is_utf8, ret, envid)
    for key, (news, orcpt) in recipients.items():
        if news or orcpt:
            assert dsn.parse_word(b"%b:%b:%b" % (key, news, orcpt))
    return dsn


def content(dsn: DsnParameters) -> object:
    return dsn.is_utf8, dsn.ret, dsn.envid, sorted(dsn.words())


@given(DSN)
def test_dsn_parameters_survive_a_round_trip_and_are_printable(dsn: DsnParameters) -> None:
    text = render_dsn(dsn)
    assert all(32 <= byte != 127 for byte in text)
    found = parse_dsn(text)
    assert content(found or DsnParameters()) == content(dsn)


@given(st.binary(max_size=60) | DSN.map(render_dsn).flatmap(lambda text: st.binary(max_size=3).map(text.__add__)))
def test_invalid_records_give_no_parameters_and_valid_ones_can_be_rendered(text: bytes) -> None:
    found = parse_dsn(text)
    if found is not None:
        again = parse_dsn(render_dsn(found))
        assert content(again or DsnParameters()) == content(found)


@given(st.binary(max_size=60))
def test_xtext_is_reversible(text: bytes) -> None:
    assert decode_xtext(encode_xtext(text)) == text
    assert is_orcpt(b"rfc822;" + encode_xtext(text)) == bool(text)


def test_what_is_no_envid_or_orcpt() -> None:
    assert is_envid(b"QQ314159+2B")
    for text in (b"", b"a=b", b"a+2", b"a+2b", b"a b", b"a\n", b"x" * 101, "ö".encode()):
        assert not is_envid(text), text
    assert is_orcpt("utf-8;jürgen@exämple.org".encode())
    for text in (b"", b"joe@x.org", b"rfc822;", b";joe", b"rfc 822;joe", b"rfc822;a=b", b"rfc822;" + b"x" * 494):
        assert not is_orcpt(text), text


@given(
    st.lists(st.binary(max_size=9).map(lambda text: text.replace(b"\0", b"x")), min_size=1, max_size=4),
    DSN,
    st.binary(max_size=9),
)
def test_dsn_parameters_are_invisible_to_other_readers_of_an_envelope(
    addresses: list[bytes], dsn: DsnParameters, rubbish: bytes
) -> None:
    plain = Envelope(addresses[0], addresses[1:]).render()
    extended = Envelope(addresses[0], addresses[1:], render_dsn(dsn)).render()
    assert scan_envelope(extended) == scan_envelope(plain) == (OK, len(plain) - 1)
    assert Envelope.parse(extended) == Envelope(addresses[0], addresses[1:], render_dsn(dsn))
    kept = with_dsn(extended + rubbish, len(plain) - 1)
    assert split_dsn(kept) == (plain[:-1], render_dsn(dsn))
    assert with_dsn(plain + b"X" + rubbish, len(plain) - 1) == plain[:-1]


def test_recipients_are_known_by_their_index_in_the_envelope() -> None:
    dsn = parse_dsn(b"W U E:id 0:n: 2:sf:rfc822;joe@x")
    assert dsn is not None
    assert dsn.recipient(1).wants_failure
    assert not dsn.recipient(1).wants_success
    assert not dsn.recipient(0).wants_failure
    assert not dsn.recipient(2).wants_delay


def test_a_preprocessed_message_knows_its_recipients_by_their_place_in_a_list() -> None:
    dsn = parse_dsn(b"W U E:id 2:sf:rfc822;joe@x 0:n: 7:s:")
    assert dsn is not None
    listed = dsn.by_lists({0: (1, 0), 1: (0, 0), 2: (0, 15)})
    assert render_dsn(listed) == b"W U E:id l15:sf:rfc822;joe@x r0:n:"
    assert not listed.listed(1, 0).wants_failure and listed.listed(0, 0).wants_failure
    assert render_dsn(listed.only_listed(0, 15)) == b"W U E:id 0:sf:rfc822;joe@x"
    assert render_dsn(listed.only_listed(0, 0)) == b"W U E:id"


def test_requiretls_stays_with_the_message_wherever_it_goes() -> None:
    for text in (b"W T", b"W U T E:id 0:s:rfc822;a@b"):
        dsn = parse_dsn(text)
        assert dsn is not None
        assert dsn.requires_tls
        assert render_dsn(dsn) == text
    assert relayed_dsn(b"W T E:id 0:s:", 2) == b"W T E:id 0:n: 1:n:"
    assert relayed_dsn(b"W T E:id 0:s:", 1, is_same_sender=False) == b"W T"
    assert relayed_dsn(b"W E:id", 1, is_same_sender=False) == b""
