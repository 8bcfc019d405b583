"""The control files that complete what is injected here, each declared once; alone, because it is read per message."""

from eqmail_core.control.setting import INJECT, ControlSet, HostName


class InjectSettings(ControlSet):
    """Settings of qmail-inject and its kin, which every (e)qmail knows."""

    defaultdomain = HostName(
        "Domain appended to host names without a dot in messages that are injected here.",
        default=b"defaultdomain",
        falls_back_to_me=True,
        env="QMAILDEFAULTDOMAIN",
        used_by=(INJECT,),
    )
    defaulthost = HostName(
        "Host appended to addresses without @ in messages that are injected here.",
        default=b"defaulthost",
        falls_back_to_me=True,
        env="QMAILDEFAULTHOST",
        used_by=(INJECT,),
    )
    idhost = HostName(
        "Host part of the Message-IDs that are made for messages injected here without one.",
        default=b"idhost",
        falls_back_to_me=True,
        env="QMAILIDHOST",
        used_by=(INJECT,),
    )
    plusdomain = HostName(
        "Domain appended to host names that end in a plus sign in messages that are injected here.",
        default=b"plusdomain",
        falls_back_to_me=True,
        env="QMAILPLUSDOMAIN",
        used_by=(INJECT,),
    )
