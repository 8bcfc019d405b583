"""Lines of the log, in both grammars."""

from eqmail_core.queue.format.send_log import log_lines


def every_line(logformat: bytes) -> list[bytes]:
    lines = log_lines(logformat)
    return [
        lines.new_message(457),
        lines.about_message(457, 86, b"a\nb %@c", 31269, 7),
        lines.starting(11, 457, b"local", b"joe@x"),
        lines.status(1, 10, 0, 20, False),
        lines.status(1, 10, 0, 20, True),
        lines.report(11, b"K", b"did 1+0+0/\n"),
        lines.report(11, b"Z", b"later\xe4"),
        lines.report(11, b"D", b""),
        lines.report(11, b"x", b"what"),
        lines.bounced(457, 31292),
        lines.triple_bounce(b"bounce/457"),
        lines.end_message(457),
        lines.exiting(),
        lines.warning(b"trouble in select"),
        lines.alert(b"oh no! lost qmail-clean connection! dying..."),
    ]


def test_the_grammar_of_109_is_every_qmails() -> None:
    assert b"".join(every_line(b"1.09")).decode().splitlines() == [
        "new msg 457",
        "info msg 457: bytes 86 from <a/b__@c> qp 31269 uid 7",
        "starting delivery 11: msg 457 to local joe@x",
        "status: local 1/10 remote 0/20",
        "status: local 1/10 remote 0/20 exitasap",
        "delivery 11: success: did_1+0+0//",
        "delivery 11: deferral: later_",
        "delivery 11: failure: ",
        "delivery 11: report mangled, will defer",
        "bounce msg 457 qp 31292",
        "triple bounce: discarding bounce/457",
        "end msg 457",
        "status: exiting",
        "warning: trouble in select",
        "alert: oh no! lost qmail-clean connection! dying...",
    ]


def test_the_grammar_of_head_names_the_program() -> None:
    assert b"".join(every_line(b"head")).decode().splitlines() == [
        "qmail-send: notice: new msg 457",
        "qmail-send: info: msg 457: bytes 86 from <a b  @c> qp 31269 uid 7",
        "qmail-send: starting delivery 11: msg 457 to local joe@x",
        "qmail-send: status: local 1/10 remote 0/20",
        "qmail-send: status: local 1/10 remote 0/20 exitasap",
        "qmail-send: delivery 11: success: did 1+0+0/ ",
        "qmail-send: delivery 11: deferral: later ",
        "qmail-send: delivery 11: failure: ",
        "qmail-send: delivery 11: report mangled, will defer",
        "qmail-send: notice: bounce msg 457 qp 31292",
        "qmail-send: triple bounce: discarding bounce/457",
        "qmail-send: notice: end msg 457",
        "qmail-send: status: exiting",
        "qmail-send: warning: trouble in select",
        "qmail-send: alert: lost qmail-clean connection! dying...",
    ]


def test_unknown_grammars_are_that_of_109() -> None:
    assert log_lines(b"nonsense").new_message(1) == b"new msg 1\n"
