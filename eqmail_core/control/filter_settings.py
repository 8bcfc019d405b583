"""The control files that name filters of the SMTP server; without them nothing is asked, and nothing is slower."""

from eqmail_core.control.filter_entries import FilterList, Milters
from eqmail_core.control.setting import SMTPD, ControlSet, Line


class FilterSettings(ControlSet):
    """Settings of milters and of checks in Python."""

    milters = Milters(
        "Milters that are asked about every message, in this order: ADDRESS [timeout=SECONDS] "
        "[default=tempfail|accept|reject]. ADDRESS is unix:/PATH, inet:HOST:PORT or inet6:[HOST]:PORT. A milter may "
        "take timeout seconds for an answer (30), ten times as long for the verdict on a message, but not more than "
        "ten minutes. What holds when it cannot be asked is default: mail is refused for now, accepted without it, or "
        "refused. See filters.md. HUP makes a new list count.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpchecks = FilterList(
        "Checks in Python that are asked before the server's own, in this order: NAME [timeout=SECONDS] "
        "[default=tempfail|accept|reject]. NAME is an entry point in the group eqmail.smtp of a distribution that is "
        "installed beside eqmail. A check may take timeout seconds for an answer (10); default says what holds when "
        "it takes longer or fails: a temporary refusal, as if it had said nothing, or a refusal. See filters.md.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    quarantineto = Line(
        "Address that gets the messages that milters set aside (quarantine), in place of their recipients, with the "
        "reason, the sender and the recipients in its header. Without it such messages are refused for now (451).",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
