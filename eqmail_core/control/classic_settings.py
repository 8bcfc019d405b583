"""The control files that (e)qmail 1.09 has too, each declared once.

Long because it is a table: one entry per file, in the order of its documentation.

Source: control-files.md 2.2; qmail-control(5).
"""

from eqmail_core.control.kinds import (
    MAX_CONCURRENT,
    Count,
    DeliveryInstructions,
    ForeignFile,
    Opaque,
    Seconds,
    Size,
    Timeout,
)
from eqmail_core.control.list_kinds import Lines, Map
from eqmail_core.control.setting import (
    ADDRESS,
    ALL,
    CHKPW,
    DOMAIN,
    GREETING,
    HOST,
    INSTRUCTIONS,
    LMTP,
    PATH,
    POPUP,
    QMTPD,
    QUEUE,
    REMOTE,
    ROUTE,
    SEND,
    SENDER,
    SMTPD,
    START,
    VIRTUAL_DOMAIN,
    WHOLE_DOMAIN,
    ControlSet,
    HostName,
    Line,
    Text,
)


class ClassicSettings(ControlSet):
    """Settings that every (e)qmail knows."""

    me = Line(
        "Fully qualified name of this host. It is the default of most other settings that name a host, and the one "
        "file that every installation must have.",
        default=None,
        used_by=ALL,
        entries=HOST,
    )
    badmailfrom = Lines(
        "Envelope senders whose mail is refused at RCPT. An entry is a whole address, @HOST for every address at a "
        "host, or .SUFFIX for every host below a domain.",
        default=None,
        used_by=(SMTPD,),
        entries=SENDER,
    )
    bouncefrom = Text("Local part of the From address of bounces.", default=b"MAILER-DAEMON", used_by=(SEND, QUEUE))
    bouncehost = HostName(
        "Host in the From address of bounces.", default=b"bouncehost", falls_back_to_me=True, used_by=(SEND, QUEUE)
    )
    concurrencylocal = Count(
        "How many local deliveries may run at a time. The limit that was chosen at setup (conf-spawn) caps it.",
        default=10,
        used_by=(SEND, START),
        most=MAX_CONCURRENT,
    )
    concurrencyremote = Count(
        "How many remote deliveries may run at a time. The limit that was chosen at setup (conf-spawn) caps it.",
        default=20,
        used_by=(SEND,),
        most=MAX_CONCURRENT,
    )
    databytes = Size(
        "Largest message accepted from the network, in bytes; 0 means no limit.",
        default=0,
        env="DATABYTES",
        used_by=(SMTPD, QMTPD),
    )
    defaultdelivery = DeliveryInstructions(
        "Instructions for users who have no .qmail file, in the format of a .qmail file: ./Maildir/ or ./Mailbox or "
        "a program. Start scripts pass it to qmail-start as its first argument.",
        default=None,
        used_by=(START,),
        entries=INSTRUCTIONS,
    )
    doublebouncehost = HostName(
        "Host of the address that gets bounces of bounces.",
        default=b"doublebouncehost",
        falls_back_to_me=True,
        used_by=(SEND, QUEUE),
    )
    doublebounceto = Text(
        "Local part of the address that gets bounces of bounces.", default=b"postmaster", used_by=(SEND, QUEUE)
    )
    envnoathost = HostName(
        "Host appended to envelope recipients without @.",
        default=b"envnoathost",
        falls_back_to_me=True,
        used_by=(SEND, SMTPD, REMOTE, CHKPW),
    )
    helohost = Line(
        "Name that this host gives in HELO and EHLO. Without it and without me, remote deliveries are deferred.",
        default=None,
        falls_back_to_me=True,
        used_by=(REMOTE, LMTP),
        entries=HOST,
    )
    localiphost = Line(
        "Name that replaces [IP] in envelope addresses when IP is one of this host's own addresses.",
        default=None,
        falls_back_to_me=True,
        used_by=(SMTPD,),
        entries=HOST,
    )
    locals = Lines(
        "Domains whose mail is delivered on this host. Beats virtualdomains.",
        default=None,
        falls_back_to_me=True,
        used_by=(SEND, SMTPD, REMOTE, CHKPW),
        reload_on_hup=True,
        entries=WHOLE_DOMAIN,
    )
    morercpthosts = Lines(
        "More domains for rcpthosts, for those who have thousands. Compiled by qmail-newmrh into morercpthosts.cdb, "
        "which is what is read; only whole domains match, and only where rcpthosts exists.",
        default=None,
        used_by=("qmail-newmrh",),
        entries=DOMAIN,
    )
    morercpthosts_cdb = ForeignFile(
        "The compiled form of morercpthosts, made by qmail-newmrh.",
        file="morercpthosts.cdb",
        default=None,
        used_by=(SMTPD, QMTPD),
        is_watched=True,
    )
    percenthack = Lines(
        "Domains at which an address user%host@DOMAIN stands for user@host.",
        default=None,
        used_by=(SEND, SMTPD, REMOTE, CHKPW),
        entries=WHOLE_DOMAIN,
    )
    qmqpservers = Lines(
        "Addresses of the hosts that qmail-qmqpc hands its mail to, tried in this order.",
        default=None,
        used_by=("qmail-qmqpc",),
        entries=ADDRESS,
    )
    queuelifetime = Seconds(
        "How long a message is tried before a temporary failure counts as permanent.",
        default=604800,
        used_by=(SEND,),
    )
    rcpthosts = Lines(
        "Domains for which mail is accepted from everywhere. An entry .DOMAIN stands for every host below DOMAIN. "
        "Without this file the host relays for the whole world.",
        default=None,
        used_by=(SMTPD, QMTPD),
        entries=DOMAIN,
    )
    smtpgreeting = Line(
        "Text of the SMTP greeting; its first word should be the name of this host. Without it and without me, the "
        "server refuses to run.",
        default=None,
        falls_back_to_me=True,
        used_by=(SMTPD,),
        entries=GREETING,
    )
    smtproutes = Map(
        "Where mail for a domain is to go: DOMAIN:RELAY, DOMAIN:RELAY:PORT, with user and password after a blank. "
        ".DOMAIN stands for every host below it, an empty domain for all, an empty relay for the MX. Port 465 means "
        "TLS from the first byte. A password goes in plain text where a server offers no TLS, unless tlshosts demands "
        "it.",
        default=None,
        used_by=(REMOTE,),
        is_secret=True,
        entries=ROUTE,
    )
    timeoutconnect = Timeout(
        "How many seconds an attempt to connect to a remote server may take before the next address is tried.",
        default=60,
        used_by=(REMOTE, LMTP),
    )
    timeoutremote = Timeout(
        "How many seconds a remote server may take for one answer before the delivery is put off.",
        default=1200,
        used_by=(REMOTE, LMTP),
    )
    timeoutsmtpd = Timeout(
        "How many seconds a client may keep the SMTP server waiting before the connection ends.",
        default=1200,
        used_by=(SMTPD,),
    )
    virtualdomains = Map(
        "Domains and addresses that belong to a local user: KEY:PREFIX makes mail for an address at KEY local mail for "
        "PREFIX-ADDRESS. KEY is an address, a domain, .DOMAIN for every host below it, or empty for all. An empty "
        "PREFIX makes an exception.",
        default=None,
        used_by=(SEND, SMTPD, REMOTE, CHKPW),
        reload_on_hup=True,
        entries=VIRTUAL_DOMAIN,
    )
    smtpplugins = Opaque(
        "Plugins of the SMTP server, in sections [connection], [helo], [mail], [rcpt], [data] and [auth].",
        default=None,
        used_by=(SMTPD,),
    )
    beforemote = Opaque(
        "Shell commands that qmail-bfrmt runs in place of qmail-remote; they must run qmail-remote themselves, once. "
        "(Layout eqmail-1.11: the first line is the path of one program.)",
        default=None,
        used_by=("qmail-bfrmt", REMOTE),
    )
    beforequeue = Opaque(
        "Its first line is the path of the program that qmail-bfque runs in place of qmail-queue.",
        default=None,
        used_by=("qmail-bfque",),
    )
    checkpwtools = Lines(
        "Paths of the checkpassword programs that qmail-pwrap tries, in this order.",
        default=None,
        used_by=("qmail-pwrap", SMTPD),
        entries=PATH,
    )
    clientca = ForeignFile(
        "Certificate authorities of clients, PEM. A client whose certificate one of them signed, and "
        "whose address is in tlsclients, may relay. While both files exist, every client is asked for a certificate, "
        "and one with a certificate of another authority cannot use TLS.",
        file="clientca.pem",
        default=None,
        used_by=(SMTPD, POPUP),
        is_watched=True,
    )
    clientcrl = ForeignFile(
        "Revocation lists for client certificates, PEM.",
        file="clientcrl.pem",
        default=None,
        used_by=(SMTPD, POPUP),
        is_watched=True,
    )
    servercert = ForeignFile(
        "Certificate chain and private key of the SMTP server, PEM. Its existence enables STARTTLS; qmaild must be "
        "able to read it. A new file counts at once.",
        file="servercert.pem",
        default=None,
        used_by=(SMTPD, POPUP),
        is_secret=True,
        is_watched=True,
    )
    rsa2048 = ForeignFile(
        "Ephemeral RSA key of C (e)qmail, PEM. Current TLS has no use for it.",
        file="rsa2048.pem",
        default=None,
        used_by=(),
    )
    dh2048 = ForeignFile(
        "Parameters of the SMTP server for Diffie-Hellman key exchange with old clients, PEM.",
        file="dh2048.pem",
        default=None,
        used_by=(SMTPD, POPUP),
        is_watched=True,
    )
    tlsclients = Lines(
        "E-mail addresses in client certificates whose owners may relay.", default=None, used_by=(SMTPD, POPUP)
    )
    tlsserverciphers = Lines(
        "Ciphers that the SMTP server offers, in the notation of OpenSSL; the lines are joined with colons. Without "
        "the file the server offers what its library thinks safe.",
        default=None,
        env="TLSCIPHERS",
        used_by=(SMTPD, POPUP),
    )
    clientcert = ForeignFile(
        "Certificate and key that this host shows to remote servers, PEM.",
        file="clientcert.pem",
        default=None,
        used_by=(REMOTE,),
        is_secret=True,
    )
    tlsclientciphers = Lines(
        "Ciphers that this host offers to remote servers, in the notation of OpenSSL; lines are joined with colons.",
        default=None,
        used_by=(REMOTE,),
    )
    servercert_cnf = ForeignFile(
        "Request settings for the self-signed server certificate.",
        file="servercert.cnf",
        default=None,
        used_by=("mksrvrcerts",),
    )
    badmailto = Lines("Listed by qmail-shcfg; no program reads it.", default=None)
