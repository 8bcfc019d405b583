"""The control files of the SMTP server that C (e)qmail does not have; off or harmless by default.

Long because it is a table: one entry per file.
"""

from eqmail_core.control.kinds import (
    AS_C,
    MAX_CONCURRENT,
    Bound,
    Count,
    Flag,
    ForeignFile,
    OptionalWord,
    Switch,
    Timeout,
    Word,
)
from eqmail_core.control.list_kinds import Lines
from eqmail_core.control.sender_logins import SenderLoginLines
from eqmail_core.control.setting import LISTENER, NETWORK, QMTPD, REMOTE, SMTPD, START, ControlSet, Line

RECIPIENT, GREETING, LOG = b"recipient", b"greeting", b"log"
"""Where a listed client is refused: each recipient, the greeting, or nowhere (logged)."""


class SmtpSettings(ControlSet):
    """Settings of the SMTP server that are our own."""

    smtplisten = Lines(
        "Addresses on which qmail-start keeps a resident SMTP service: ADDRESS:PORT or [IPv6]:PORT, and before it the "
        "role of the listener. Without one it takes mail from everybody, as on port 25. submission: takes mail only "
        "after a login, as on port 587; submissions: does so with TLS from the first byte, as on port 465; tls: has "
        "TLS from the first byte and needs a login only on the ports of SUBMISSIONPORT. Without the file the server "
        "runs under tcpserver, xinetd or inetd.",
        default=None,
        used_by=(START,),
        since="eqmail 2",
        entries=LISTENER,
    )
    smtphandover = Switch(
        "Whether qmail-smtpd, where tcpserver, xinetd, inetd or systemd start it for a client, hands the client over "
        "to the resident SMTP service. Without the file it does where that service runs, because it listens on "
        "addresses of its own; 1 makes the service run for this alone, 0 keeps it from it. The program stays until "
        "the conversation is over; it serves the client itself where no service takes it over, or its environment has "
        "NOHANDOVER.",
        default=None,
        used_by=(START,),
        since="eqmail 2",
    )
    smtpconcurrency = Count(
        "How many clients the resident SMTP service serves at a time, in all its processes; further ones are asked to "
        "come back later.",
        default=500,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpcheckpw = Line(
        "Program that checks passwords for the resident SMTP service, a checkpassword program with its arguments. "
        "Without it the service offers no AUTH.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    authmethods = OptionalWord(
        "Which methods of AUTH the SMTP server offers where a program checks passwords: an empty line means LOGIN and "
        "PLAIN, cram CRAM-MD5 alone, +cram these three, scram SCRAM-SHA-256 alone, - none; with ! before it no mail is "
        "taken without AUTH. Without the file these three are offered; by qmail-chkpw LOGIN and PLAIN alone if all "
        "secrets in users/smtpauth are crypt strings or SCRAM keys. The server itself checks SCRAM-SHA-256 with such "
        "keys; it offers it unasked if there are some and qmail-chkpw runs no program but true. Where TLSREQUIRED is 1 "
        "only CRAM-MD5 and SCRAM-SHA-256 are offered before TLS. SCRAM-SHA-256-PLUS is offered under TLS.",
        words=(b"", b"cram", b"+cram", b"scram", b"-", b"!", b"!cram", b"!+cram", b"!scram"),
        env="SMTPAUTH",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    greylistdelay = Timeout(
        "How many seconds pass until a second attempt of a sender that is not known is accepted; until then RCPT gets "
        "451 4.7.1. Known is a network, or a domain whose SPF passes, from which five senders came back. Clients that "
        "may relay or have logged in are never deferred. 0 means no greylisting; 300 is usual. A rule of tcprules may "
        "set GREYLISTDELAY for single clients.",
        default=0,
        env="GREYLISTDELAY",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    senderlogin = SenderLoginLines(
        "Which sender addresses a client that has logged in may use: LOGIN SENDER... in a line, where SENDER is an "
        "address, @HOST for all addresses at a host, self for the login itself, or any; LOGIN * stands for all logins "
        "that have no line. It holds for the envelope sender (553) and for every address in From (554). Without the "
        "file, and for a login without a line, every sender is accepted.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    relayclients = Lines(
        "Addresses and networks (CIDR) of the clients that may send mail anywhere through the resident SMTP service. "
        "Their mail is signed (DKIM) as if it had begun here, also where tcpserver's rules let them relay.",
        default=None,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
        entries=NETWORK,
    )
    smtpworkers = Count(
        "Processes of the resident SMTP service.",
        default=1,
        used_by=(START,),
        since="eqmail 2",
        least=1,
        most=MAX_CONCURRENT,
    )
    smtplimits = Word(
        "Which limits the SMTP server has where a file of their own does not say: bounded, those of maxrcpt, "
        "smtpmaxcommands, smtpmaxerrors, smtpperaddress, smtpauthfailures and smtpidle; c, none of these, as C has "
        "none.",
        words=(b"bounded", AS_C),
        default=b"bounded",
        used_by=(SMTPD, QMTPD),
        since="eqmail 2",
    )
    maxrcpt = Bound(
        "Most recipients in one SMTP or QMTP transaction; further ones get a temporary refusal. 0 means no limit.",
        default=1000,
        choice=smtplimits,
        env="MAXRCPT",
        used_by=(SMTPD, QMTPD),
        since="eqmail 2",
    )
    rcptcheck = Lines(
        "Domains whose recipients are looked up before the SMTP server accepts them, by the code that would deliver to "
        "them: an unknown address gets 550 at RCPT, so that no bounce goes to a forged sender. A line is a "
        "domain, a suffix with its dot, or * for all; with ! before it an exception. Mail that goes on to other hosts, "
        "and what programs in .qmail files would say, is not looked up. Where the local delivery service does not "
        "answer, recipients are accepted.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    dnsbl = Lines(
        "Lists in the DNS of clients from whom the SMTP server takes no mail: ZONE [=ADDRESS,...] [text] in a line. "
        "Without ADDRESS, which may be a network, every answer in 127.0.0.0/8 counts, except 127.255.255.0/24, by "
        "which lists refuse to answer. The text is the reply to the client, %i its address. Clients that may relay, "
        "and those whose rule sets NODNSBL, are not asked about; trouble with the DNS counts for the client.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    dnswl = Lines(
        "Lists in the DNS of clients whom those of dnsbl do not concern; lines as there.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    dnsblat = Word(
        "Where clients that are listed are sent away: recipient, with 554 at each RCPT; greeting, at once; log: "
        "nowhere, they are but noted in the log.",
        words=(RECIPIENT, GREETING, LOG),
        default=RECIPIENT,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    enhancedstatus = Flag(
        "Whether SMTP replies put their status before the text (250 2.0.0 ok, RFC 2034) instead of after it (#x.y.z).",
        default=False,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    chunking = Flag(
        "Whether the SMTP server takes messages in chunks too (BDAT, RFC 3030).",
        default=False,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    dsn = Flag(
        "Whether the SMTP server lets senders say which news of a message they want: DSN with RET, ENVID, NOTIFY and "
        "ORCPT (RFC 3461). Without such parameters senders get bounces. With 0 these words are passed over.",
        default=True,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtputf8 = Flag(
        "Whether the SMTP server takes messages with addresses and headers beyond ASCII (SMTPUTF8, RFC 6531). Such a "
        "message goes to servers that take it, too, and comes back from others. With 0 the word is passed over.",
        default=True,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    requiretls = Flag(
        "Whether the SMTP server offers REQUIRETLS under TLS (RFC 8689): such a message leaves by verified TLS only, "
        "to servers that offer it too, and fails otherwise. Set it where the resident services deliver; programs in "
        "place of qmail-remote or qmail-queue do not see the word.",
        default=False,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpmaxerrors = Bound(
        "Most refusals in one SMTP conversation; a client that earns more is sent away. 0 means no limit.",
        default=200,
        choice=smtplimits,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpmaxcommands = Bound(
        "Most SMTP commands other than RCPT without a message between them; then a client is sent away. 0 means no "
        "limit.",
        default=1000,
        choice=smtplimits,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpperaddress = Bound(
        "Most clients from one address (IPv6: one /64 network) that the resident SMTP service serves at a time, in all "
        "its processes; 0 means no limit.",
        default=50,
        choice=smtplimits,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpauthfailures = Bound(
        "After so many wrong passwords from one address (IPv6: one /64 network) within ten minutes the resident SMTP "
        "service refuses further ones unseen; 0 means no limit.",
        default=10,
        choice=smtplimits,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpidle = Bound(
        "How many seconds a client of the SMTP server may take from its greeting, or from its last message, to MAIL, "
        "whatever else it says; 0 means timeoutsmtpd alone. When the resident service has seven eighths of its clients "
        "it waits a tenth of this, and for no client longer than a minute.",
        default=300,
        choice=smtplimits,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpcheckers = Count(
        "How many password checkers (smtpcheckpw) the resident SMTP service runs at a time, in each of its processes; "
        "further clients wait, those of each address in turn. 0 means two for each processor.",
        default=0,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtppluginprocesses = Count(
        "How many plugins (smtpplugins) the resident SMTP service runs at a time, in each of its processes; further "
        "clients wait, those of each address in turn. 0 means thirty-two for each processor.",
        default=0,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    smtpqueueprocesses = Count(
        "How many programs that QMAILQUEUE names the resident SMTP service runs at a time, in each of its processes. "
        "One address, or IPv6 /64, has half of them at most. Further messages wait, those of each address in turn. "
        "0 means thirty-two for each processor.",
        default=0,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    greetdelay = Timeout(
        "How long the SMTP server waits before its greeting; a client that talks earlier is sent away. Clients that "
        "may relay, and those that began with TLS, do not wait.",
        default=0,
        env="GREETDELAY",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    tarpitcount = Count(
        "From so many recipients of a message on, each further one takes tarpitdelay; 0 means never. Clients that may "
        "relay do not wait.",
        default=0,
        env="TARPITCOUNT",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    tarpitdelay = Timeout(
        "How long the SMTP server waits at each recipient beyond tarpitcount.",
        default=5,
        env="TARPITDELAY",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    tcprules_cdb = ForeignFile(
        "Rules for the clients of the resident SMTP service, compiled by tcprules: who is served, and with which "
        "variables; all that qmail-smtpd reads work, except SMTPS and TLSCIPHERS. A new file counts at once.",
        file="tcprules.cdb",
        default=None,
        used_by=(SMTPD, REMOTE),
        since="eqmail 2",
        is_watched=True,
    )
    proxyfrom = Lines(
        "Addresses and networks (CIDR) of proxies in front of the resident SMTP service: they begin with a line or "
        "block of the PROXY protocol with the address of the client. HUP makes a new list count.",
        default=None,
        used_by=(SMTPD,),
        since="eqmail 2",
        entries=NETWORK,
    )
    smtplogformat = Word(
        "What the SMTP server logs: full, refused commands (refused, with the reply) and failed logins too, and who "
        "had logged in for an accepted message; c, only what C's server logs, for programs that read its log. One "
        "address causes 60 lines a minute at most, besides messages.",
        words=(b"full", AS_C),
        default=b"full",
        used_by=(SMTPD,),
        since="eqmail 2",
    )
    receivedesmtp = Flag(
        "Whether Received lines say ESMTP after EHLO, which is right, or SMTP, as C does.",
        default=True,
        used_by=(SMTPD,),
        since="eqmail 2",
    )
