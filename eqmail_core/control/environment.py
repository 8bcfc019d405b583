"""Every environment variable that the suite reads or sets, declared once; the home of their manuals.

Long because it is a table. The variables that merely override a control file are declared there (`Control.env`).

Source: control-files.md 2.9; delivery.md.
"""

from typing import NamedTuple

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import INJECT, LOCAL, QMTPD, REMOTE, SEND, SMTPD, START

PLUGINS = "plugins of qmail-smtpd"
DELIVERED = "programs in .qmail files"


class Variable(NamedTuple):
    """One variable: who reads it, what it means, and what holds without it. `set_by` is empty for the administrator."""

    name: str
    used_by: tuple[str, ...]
    manual: str
    default: str = ""
    set_by: str = ""


_CONNECTION = (SMTPD, QMTPD, "qmail-qmqpd")
_TCP = "tcpserver, qmail-tcpsrv or tcp-env"

VARIABLES = (
    Variable("EQMAIL_HOME", ("every program",), "The installation.", "the home for which the program was installed"),
    Variable("EQMAIL_DEBUG", ("eqmail",), "When set, an internal error shows its traceback.", "unset"),
    Variable(
        "RELAYCLIENT",
        (SMTPD, QMTPD),
        "When set, even to nothing, the client may send to every domain; its value is appended to every recipient.",
        "unset: only the domains of rcpthosts",
        "the administrator, often by tcprules; successful authentication sets it to nothing",
    ),
    Variable(
        "TLSREQUIRED",
        (SMTPD,),
        "1: no authentication without TLS, except CRAM-MD5.",
        "1 in the resident service where it has a certificate, else unset",
    ),
    Variable(
        "SUBMISSIONPORT",
        (SMTPD,),
        "On this local port, or these with blanks between, MAIL needs authentication; so it does on every listener "
        "with the role submission or submissions in control/smtplisten.",
        "587",
    ),
    Variable("SMTPS", (SMTPD,), "When set, even to nothing, TLS begins before the greeting.", "unset"),
    Variable(
        "NODNSBL", (SMTPD,), "When set, the lists of dnsbl do not concern the client.", "unset", "the administrator"
    ),
    Variable(
        "NOHANDOVER",
        (SMTPD,),
        "When set, the program serves its client itself, whatever smtphandover says.",
        "unset",
        "the administrator",
    ),
    Variable("NOSPP", (SMTPD,), "When set, no plugin runs.", "unset"),
    Variable("NOMILTER", (SMTPD,), "When set, no milter is asked about the client.", "unset", "the administrator"),
    Variable("SPPCONFFILE", (SMTPD,), "Another file instead of smtpplugins.", "control/smtpplugins"),
    Variable(
        "QMAILQUEUE",
        ("everything that queues mail",),
        "Path of a program that is run instead of bin/qmail-queue, with its descriptors and exit codes. With exit "
        "code 82 or 31 it may say on descriptor 4 why: D (for good) or Z (for now), and a line of 254 bytes at most.",
        "bin/qmail-queue",
    ),
    Variable(
        "QMAILREMOTE",
        ("qmail-rspawn", "the remote service"),
        "Path of a program that is run instead of bin/qmail-remote, with its arguments and report.",
        "bin/qmail-bfrmt where beforemote exists, else bin/qmail-remote",
    ),
    Variable("PROTO", (*_CONNECTION, "tcp-env"), "TCP or TCP6 when the variables below are set.", "unset", _TCP),
    Variable("TCPREMOTEIP", _CONNECTION, "Address of the client.", "unknown", _TCP),
    Variable("TCPREMOTEHOST", _CONNECTION, "Name of the client, from DNS.", "unknown", _TCP),
    Variable("TCPREMOTEPORT", _CONNECTION, "Port of the client.", "unset", _TCP),
    Variable("TCPREMOTEINFO", _CONNECTION, "What the client's ident server says.", "left out", _TCP),
    Variable("TCPLOCALIP", _CONNECTION, "Address that the client connected to.", "unknown", _TCP),
    Variable("TCPLOCALHOST", _CONNECTION, "Name of that address; shown in Received.", "TCPLOCALIP", _TCP),
    Variable("TCPLOCALPORT", (SMTPD,), "Port that the client connected to; see SUBMISSIONPORT.", "0", _TCP),
    Variable("SMTPHELOHOST", (PLUGINS,), "What the client said in HELO or EHLO.", set_by=SMTPD),
    Variable("SMTPMAILFROM", (PLUGINS,), "Envelope sender.", set_by=SMTPD),
    Variable("SMTPRCPTTO", (PLUGINS,), "Envelope recipient.", set_by=SMTPD),
    Variable("SMTPRCPTCOUNT", (PLUGINS,), "Recipients accepted so far.", set_by=SMTPD),
    Variable("SMTPRCPTCOUNTALL", (PLUGINS,), "Recipients named so far.", set_by=SMTPD),
    Variable("SMTPRCPTHOSTSOK", (PLUGINS,), "1 when the recipient's domain is accepted anyway.", set_by=SMTPD),
    Variable("SMTPAUTHMETHOD", (PLUGINS,), "How the client authenticated itself.", set_by=SMTPD),
    Variable("SMTPAUTHUSER", (PLUGINS,), "As whom the client authenticated itself.", set_by=SMTPD),
    Variable(
        "QMAILINJECT",
        (INJECT,),
        "Letters: c writes From as ADDRESS (NAME), s ignores Return-Path, f replaces From, i replaces Message-ID, "
        "r and m make the sender different for each recipient or each message (VERP).",
        "unset",
    ),
    Variable("QMAILUSER", (INJECT,), "User of the sender address; before MAILUSER, USER and LOGNAME.", "anonymous"),
    Variable("MAILUSER", (INJECT,), "See QMAILUSER."),
    Variable("USER", (INJECT, DELIVERED), "See QMAILUSER; in deliveries, the user whose mail it is."),
    Variable("LOGNAME", (INJECT,), "See QMAILUSER."),
    Variable("QMAILHOST", (INJECT,), "Host of the sender address; before MAILHOST.", Controls.defaulthost.file),
    Variable("MAILHOST", (INJECT,), "See QMAILHOST."),
    Variable("QMAILNAME", (INJECT,), "Personal name in From; before MAILNAME and NAME.", "none"),
    Variable("MAILNAME", (INJECT,), "See QMAILNAME."),
    Variable("NAME", (INJECT,), "See QMAILNAME."),
    Variable("QMAILSUSER", (INJECT,), "User of the envelope sender.", "QMAILUSER"),
    Variable("QMAILSHOST", (INJECT,), "Host of the envelope sender.", "QMAILHOST"),
    Variable("QMAILMFTFILE", (INJECT,), "File with mailing lists, for a Mail-Followup-To field.", "none"),
    Variable("SENDER", (DELIVERED,), "Envelope sender.", set_by=LOCAL),
    Variable(
        "QMAILDSN",
        (DELIVERED,),
        "Which reports the sender requested (RFC 3461), which forward and condredirect pass on.",
        set_by=LOCAL,
    ),
    Variable("NEWSENDER", (DELIVERED,), "Sender that forwarded mail gets.", set_by=LOCAL),
    Variable("RECIPIENT", (DELIVERED,), "Envelope recipient, LOCAL@HOST.", set_by=LOCAL),
    Variable("HOME", (DELIVERED,), "Home of the user.", set_by=LOCAL),
    Variable("LOCAL", (DELIVERED,), "Local part of the recipient.", set_by=LOCAL),
    Variable("HOST", (DELIVERED,), "Host part of the recipient.", set_by=LOCAL),
    Variable("HOST2", (DELIVERED,), "HOST up to its last dot; HOST3 and HOST4 go on like this.", set_by=LOCAL),
    Variable("EXT", (DELIVERED,), "Extension of the address.", set_by=LOCAL),
    Variable("EXT2", (DELIVERED,), "EXT after its first dash; EXT3 and EXT4 go on like this.", set_by=LOCAL),
    Variable("DEFAULT", (DELIVERED,), "What default stands for in the name of the .qmail file.", set_by=LOCAL),
    Variable("DTLINE", (DELIVERED,), "The Delivered-To line.", set_by=LOCAL),
    Variable("RPLINE", (DELIVERED,), "The Return-Path line.", set_by=LOCAL),
    Variable("UFLINE", (DELIVERED,), "The From_ line of an mbox.", set_by=LOCAL),
    Variable("MAILDIR", ("maildir2mbox",), "The Maildir to empty."),
    Variable("MAIL", ("maildir2mbox",), "The mbox to fill."),
    Variable("MAILTMP", ("maildir2mbox",), "A file beside the mbox, for the time being."),
    Variable("UID", ("qmail-tcpsrv",), "With -U, the user to become."),
    Variable("GID", ("qmail-tcpsrv",), "With -U, the group to become."),
    Variable("DKREMOTE", ("qmail-bfrmt",), "By convention, the real qmail-remote.", set_by=Controls.beforemote.file),
    Variable("DKQUEUE", ("qmail-bfque",), "By convention, the real qmail-queue.", set_by=Controls.beforequeue.file),
)
"""In the order of the documentation."""

_SERVICES = {SMTPD, QMTPD, SEND, REMOTE, LOCAL, START, "everything that queues mail", "the remote service"}


def service_variables() -> list[str]:
    """The variables by which an administrator changes what the services do; not those that other programs set."""
    own = [
        variable.name
        for variable in VARIABLES
        if set(variable.used_by) & _SERVICES and variable.set_by.partition(",")[0] in ("", "the administrator")
    ]
    settings = [
        control.env for control in Controls.declared().values() if control.env and set(control.used_by) & _SERVICES
    ]
    return list(dict.fromkeys([*own, *settings]))
