"""Numbers in control files: bounded where they are read, so that no call that gets them can refuse."""

import os
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eqmail_core.control.controls import Controls
from eqmail_core.control.kinds import Bound, Count, Seconds, Timeout
from eqmail_core.control.list_kinds import PeriodMap, Periods
from eqmail_core.tcpserver.options import parse_command_line
from eqmail_core.text.lines import MAX_COUNT, MAX_PERIOD_S, MAX_WAIT_S

HUGE = [b"2147484\n", b"9" * 12 + b"\n", b"9" * 20 + b"\n", b"9" * 5000 + b"\n"]
COUNTS = {name: control for name, control in Controls.declared().items() if isinstance(control, Count)}


def read(files: dict[str, bytes], environ: dict[bytes, bytes] | None = None) -> Controls:
    return Controls(files.get, environ)


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("text", HUGE, ids=range(len(HUGE)))
def test_no_number_exceeds_the_range_of_its_type(name: str, text: bytes) -> None:
    control = COUNTS[name]
    value, _ = control.parse(text)
    assert 0 <= value <= control.most
    if control.env:
        assert getattr(read({}, {control.env.encode(): text}), name) == value
    if int(text[:20]) > control.most:
        assert any(str(control.most) in remark for remark in control.parse(text)[1])


@pytest.mark.parametrize("name", [name for name, control in COUNTS.items() if isinstance(control, Timeout)])
def test_every_timeout_is_one_that_poll_select_and_sockets_take(name: str) -> None:
    value, _ = COUNTS[name].parse(b"9" * 20)
    reading, writing = os.pipe()
    os.write(writing, b"x")
    waiter = select.poll()
    waiter.register(reading, select.POLLIN)
    assert waiter.poll(value * 1000)
    assert select.select([reading], [], [], value)[0]
    with socket.socket() as sock:
        sock.settimeout(value)
    os.close(reading)
    os.close(writing)


def test_every_wait_is_declared_as_a_timeout() -> None:
    ages = {"queuelifetime", "delaywarning"}
    assert {name for name, it in COUNTS.items() if isinstance(it, Seconds) and not isinstance(it, Timeout)} == ages


@given(st.text("0123456789", min_size=1), st.sampled_from(["", "s", "m", "h", "d", "w"]))
def test_periods_fit_file_timestamps(digits: str, unit: str) -> None:
    word = (digits + unit).encode()
    for name, control in Controls.declared().items():
        if isinstance(control, Periods):
            values = control.parse(word + b"\n")[0] or []
        elif isinstance(control, PeriodMap):
            values = list((control.parse(b"example.org:" + word)[0] or {}).values())
        else:
            continue
        assert all(0 <= value <= MAX_PERIOD_S for value in values), name


LIMITS = [name for name, control in COUNTS.items() if isinstance(control, Bound)]


@pytest.mark.parametrize("name", LIMITS)
def test_limits_unknown_to_c_apply_by_default(name: str) -> None:
    control = COUNTS[name]
    assert getattr(read({}), name) == control.default > 0
    assert getattr(read({"smtplimits": b"bounded\n"}), name) == control.default
    assert getattr(read({"smtplimits": b"c\n"}), name) == 0
    assert getattr(read({"smtplimits": b"c\n", control.file: b"7\n"}), name) == 7
    if control.env:
        assert getattr(read({"smtplimits": b"c\n"}, {control.env.encode(): b"8"}), name) == 8


def test_the_manual_names_every_such_limit() -> None:
    assert LIMITS
    for name in LIMITS:
        assert name in Controls.smtplimits.manual


def test_numeric_options_have_the_same_bounds() -> None:
    huge = b"9" * 30
    argv = [
        b"qmail-tcpsrv",
        b"-t",
        huge,
        b"-c",
        huge,
        b"-u",
        huge,
        b"-g",
        huge,
        b"-b",
        huge,
        b"host",
        b"25",
        b"program",
    ]
    chosen = parse_command_line(argv, {})
    assert chosen.ident_timeout_s == MAX_WAIT_S
    assert {chosen.limit, chosen.uid, chosen.gid, chosen.backlog} == {MAX_COUNT}
    chosen = parse_command_line([b"qmail-tcpsrv", b"-U", b"host", b"25", b"program"], {b"UID": huge, b"GID": huge})
    assert chosen.uid == chosen.gid == MAX_COUNT
