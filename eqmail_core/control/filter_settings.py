"""The control files of filters and of mail authentication.

Without them nothing is asked, and nothing is slower.
"""

from eqmail_core.control.filter_entries import FilterList, Milters
from eqmail_core.control.kinds import Flag, Word
from eqmail_core.control.list_kinds import Lines
from eqmail_core.control.setting import LOCAL, REMOTE, SMTPD, ControlSet, HostName, Line

OFF, MARK, ENFORCE = b"off", b"mark", b"enforce"
WALK, PSL = b"walk", b"psl"


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


class MailAuthSettings(ControlSet):
    """Settings of SPF, DKIM, DMARC and ARC."""

    authcheck = Word(
        "Whether the SMTP server checks messages by SPF, DKIM, DMARC and ARC: off; mark, it writes what it found into "
        "a field Authentication-Results and removes fields of others that claim to come from this host; enforce, it "
        "also refuses what fails the DMARC policy of its author's domain where that is reject (550), and defers it "
        "where the DNS does not answer (451). Clients that may relay and those that have logged in are not checked. "
        "See mail-authentication.md.",
        words=(OFF, MARK, ENFORCE),
        default=OFF,
        env="AUTHCHECK",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    dmarcwalk = Word(
        "How the organization of a domain is found for DMARC: walk, by questions to the DNS from the name upwards "
        "(RFC 9989); psl, by the list of public suffixes that is installed.",
        words=(WALK, PSL),
        default=WALK,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    arctrust = Lines(
        "Domains of forwarders and mailing lists whose ARC seals are believed: what they found in order on arrival "
        "does not fail DMARC here for what they have changed.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    authfolder = Line(
        "Folder of a Maildir, such as Junk, for messages whose header says X-Spam-Flag: YES: those that a DMARC policy "
        "wants to be set aside (authcheck enforce), and those that a filter marks. It is used where it exists; its "
        "name on the disk is .Junk. Without the file they go to the inbox.",
        default=None,
        used_by=(LOCAL,),
        since="eqmail 2",
    )
    dmarcreports = Line(
        "Address in the From field of aggregate reports. With it, results of DMARC are counted and reported once a day "
        "to the domains of authors that ask for that (RFC 9990); without it nothing is. `eqmail dmarc reports on` "
        "writes it. See mail-authentication.md.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )


class ReturnPathSettings(ControlSet):
    """Settings of the senders of forwarded mail (SRS) and of signed senders (BATV)."""

    srssecrets = Lines(
        "Secrets of SRS, the current one first. With them, mail of senders elsewhere that this host forwards to other "
        "hosts leaves with a sender in srsdomain, so that SPF there looks at this host; bounces to it go to the sender "
        "for three weeks. `eqmail srs on` makes one, `eqmail srs rotate` another. See mail-authentication.md.",
        default=None,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
        is_secret=True,
    )
    srsdomain = HostName(
        "Domain of the senders that SRS makes; its MX is this host, and rcpthosts lists it.",
        default=b"",
        falls_back_to_me=True,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
    )
    batvsecrets = Lines(
        "Secrets of BATV, the current one first. With them, the senders of this host's domains are signed when mail "
        "leaves for other hosts, and bounces to signed senders are accepted for a week. `eqmail batv on` makes one.",
        default=None,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
        is_secret=True,
    )
    batvcheck = Flag(
        "Whether bounces to senders of this host that are not signed are refused. Turn it on a week after batvsecrets, "
        "and only if no other host sends mail of these domains.",
        default=False,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
    )
