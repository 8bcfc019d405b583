"""The control files of queue, scheduler and delivery that C (e)qmail does not have, each declared once."""

from eqmail_core.control.kinds import MAX_CONCURRENT, Count, Flag, Seconds, Size, Timeout, Word
from eqmail_core.control.list_kinds import Lines, Map, PeriodMap, Periods, TimeMap
from eqmail_core.control.remote_limits import RemoteLimits
from eqmail_core.control.setting import ADDRESS, LOCAL, NAME_SERVER, QUEUE, REMOTE, SEND, START, ControlSet, Text
from eqmail_core.control.submission_limits import SubmissionLimits

JOURNAL, TOGETHER, EACH = b"journal", b"together", b"each"
"""How accepted mail is made safe."""

HEAD = b"head"
"""The newer grammar of the log of qmail-send."""

DSN = b"dsn"
"""Bounces as RFC 3464 has them."""


class DeliverySettings(ControlSet):
    """Settings of queue, scheduler and delivery that are our own."""

    remotereuse = Timeout(
        "How long the resident remote delivery keeps a connection for the next message to the same server; 0 means a "
        "connection for each message.",
        default=5,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    timeoutdns = Timeout(
        "How many seconds all questions to the DNS about one remote delivery may take together; what has no answer "
        "by then counts as trouble that may pass.",
        default=60,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    timeoutaddresses = Timeout(
        "How many seconds after its start a remote delivery tries no further address; mail waits then for its next "
        "attempt. A session that has begun goes on.",
        default=600,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    remoteworkers = Count(
        "Processes of the resident remote delivery service; more than one lets relaying use more than one processor. "
        "All limits hold for them together.",
        default=1,
        used_by=(START,),
        since="eqmail 2",
        least=1,
        most=MAX_CONCURRENT,
    )
    outgoingip = Lines(
        "Addresses of this host that mail to other hosts leaves from: the first IPv4 address for servers with IPv4, "
        "the first IPv6 address for those with IPv6. For a kind without a line the system chooses.",
        default=None,
        used_by=(REMOTE,),
        since="eqmail 2",
        entries=ADDRESS,
    )
    remotelimits = RemoteLimits(
        "What mail to a domain is bound to, DOMAIN:concurrency=N messages=N rate=N/s, with * for all others: "
        "deliveries at a time, messages per connection, deliveries per second (or /m, /h). Mail beyond it waits as "
        "long as the domain takes mail, and holds no place meanwhile. Without limits too a domain gets less while it "
        "answers 421, 450 or 4.7.x, or does not answer.",
        default=None,
        used_by=(SEND, REMOTE),
        reload_on_hup=True,
        since="eqmail 2",
    )
    tlsdestciphers = Map(
        "Ciphers that this host offers to some servers instead of tlsclientciphers, HOST:CIPHERS, in the notation "
        "of OpenSSL. HOST is the name of the server, as in tlshosts; .DOMAIN stands for every host below it.",
        default=None,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    tlsfallback = Flag(
        "Whether mail goes in plain text, on a new connection, when TLS was offered and its handshake failed. Never "
        "for hosts in tlshosts, nor with a password. Without the file such mail waits.",
        default=False,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    dnssec = Lines(
        "Name servers of /etc/resolv.conf whose DNSSEC validation counts (the AD bit of their answers), one address a "
        "line; loopback for all on a loopback address, off for none. Without the file it is loopback. Where a "
        "validated answer has TLSA records, mail goes only to a server that matches them (DANE).",
        default=None,
        entries=NAME_SERVER,
        used_by=(REMOTE,),
        since="eqmail 2",
    )
    programseconds = Timeout(
        "How long a program in a .qmail file may take; then it is ended with everything that it has started, and the "
        "mail waits. 0 means as long as it likes.",
        default=0,
        env="PROGRAMSECONDS",
        used_by=(LOCAL,),
        since="eqmail 2",
    )
    stopseconds = Timeout(
        "How long after TERM running deliveries are awaited; then what still runs is killed. No mail is lost by that, "
        "but a delivery that was under way may be made twice. 0 means as long as they take, as every qmail does.",
        default=1800,
        used_by=(START,),
        since="eqmail 2",
    )
    localperuser = Count(
        "How many deliveries of one account may run at a time, beside plain mail that the carrier files; 0 means half "
        "of concurrencylocal. An order that has waited for 5 seconds behind others of its account is deferred, so that "
        "others have the rest. Where all mail is delivered by one account, and slowly, give concurrencylocal.",
        default=0,
        used_by=(START,),
        since="eqmail 2",
    )
    localcarrier = Flag(
        "Whether one process, the carrier, files plain Maildir mail for all users, being each of them for a moment. "
        "With 0 every user with mail has an agent instead, a process that is that user for good: dearer by a fork "
        "where many users get mail, and no process that could be another user again. Everything else that a .qmail "
        "file may ask for is done by agents in any case.",
        default=True,
        used_by=(START,),
        since="eqmail 2",
    )
    queuedurability = Word(
        "How accepted mail is made safe: journal (a group-committed journal, the default), together (qmail's files, "
        "flushed in groups) or each (qmail's files, flushed one by one as C does).",
        words=(JOURNAL, TOGETHER, EACH),
        default=JOURNAL,
        used_by=(QUEUE,),
        since="eqmail 2",
    )
    queuememory = Size(
        "Bytes of undelivered messages that the queue service holds in memory before it writes them out as files.",
        default=64 << 20,
        used_by=(QUEUE,),
        since="eqmail 2",
    )
    queueunfinished = Size(
        "Bytes of unfinished messages that the queue service holds in memory. Users other than the mail accounts get "
        "half of it, one of them a quarter; what is beyond is refused for now.",
        default=128 << 20,
        used_by=(QUEUE,),
        since="eqmail 2",
    )
    queueperuser = Count(
        "Connections to the queue service, and as many unfinished messages, that one user other than the mail accounts "
        "may hold at a time; 0 means no limit.",
        default=100,
        used_by=(QUEUE,),
        since="eqmail 2",
    )
    submissionlimits = SubmissionLimits(
        "How much submitters may send: KIND NAME LIMITS in a line. KIND is login (a client that has logged in), uid (a "
        "local user, by number or name) or address (a client that may relay, or a network of them; IPv6 clients "
        "count by /64); NAME * stands for all that have no line. LIMITS are messages=N/h and recipients=N/d and the "
        "like, per m, h or d; messages=20+100/h allows 20 at once and 100 more in an hour. none: no limit. What is "
        "over a limit is accepted and held, with refuse in the line refused (4.7.1). Postmaster gets a notice for each "
        "submitter and period. A change counts within seconds.",
        default=None,
        used_by=(QUEUE,),
        since="eqmail 2",
        is_watched=True,
    )
    queuenode = Text(
        "Name of this node among those that share a queue in a database. Default: the host name.",
        default=b"",
        used_by=(QUEUE,),
        since="eqmail 2",
    )
    logformat = Word(
        "Grammar of the log of qmail-send: 1.09 (as every qmail, the default) or head (as eQmail after 1.09).",
        words=(b"1.09", HEAD),
        default=b"1.09",
        used_by=(SEND, START),
        since="eqmail 2",
    )
    retryschedule = Periods(
        "How long to wait after each attempt, one period a line, such as 5m, 20m, 1h, 4h; the last one repeats. The "
        "period in force is that of the message's age, so that a start or ALRM does not begin anew. Without the file "
        "the pauses grow as in every qmail: attempts 400, 1600, 3600 ... seconds after birth, local ones 100, 400 ...",
        default=None,
        used_by=(SEND,),
        since="eqmail 2",
    )
    queuelifetimes = PeriodMap(
        "How long recipients at a domain are tried, where that is not queuelifetime: DOMAIN:PERIOD, such as "
        "example.org:2d; .DOMAIN stands for every host below it.",
        default=None,
        used_by=(SEND,),
        since="eqmail 2",
    )
    suspendeddomains = TimeMap(
        "Domains whose mail waits in the queue and is not tried: DOMAIN, or DOMAIN:TIME with the end of that in UTC, "
        "such as example.org:2026-12-01T14:00:00Z; .DOMAIN stands for every host below it. Mail that has waited beyond "
        "its lifetime gets one more attempt afterwards. `eqmail queue suspend` and `eqmail queue resume` write it.",
        default=None,
        used_by=(SEND,),
        reload_on_hup=True,
        since="eqmail 2",
    )
    bounceformat = Word(
        "How bounces are written: qsbmf (as every qmail, the default) or dsn (RFC 3464, a report that programs read).",
        words=(b"qsbmf", DSN),
        default=b"qsbmf",
        used_by=(SEND,),
        since="eqmail 2",
    )
    bouncemaxbytes = Size(
        "Messages larger than this come back in bounces as their header only; 0 means that all come back whole.",
        default=0,
        used_by=(SEND,),
        since="eqmail 2",
    )
    bouncemaxrecipients = Count(
        "Most recipients that one bounce or other report lists; a line says how many there are besides. 0 means no "
        "limit. The list never has more than a megabyte.",
        default=1000,
        used_by=(SEND,),
        since="eqmail 2",
    )
    bouncelimit = Count(
        "Most bounces and other reports to one sender within an hour, against floods of them to forged addresses; 0 "
        "means no limit. Further ones wait in the queue until the hour allows them. Bounces of bounces, which go to "
        "doublebounceto, and delay warnings are not limited. A new start counts anew.",
        default=0,
        used_by=(SEND,),
        reload_on_hup=True,
        since="eqmail 2",
    )
    delaywarning = Seconds(
        "Age at which the sender of a waiting message gets one delay warning; 0 means never.",
        default=0,
        used_by=(SEND,),
        since="eqmail 2",
    )
