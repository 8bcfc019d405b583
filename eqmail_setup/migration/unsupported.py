"""Control files that patches of qmail and its relatives read: what they are here, or why they are nothing.

`RENAMED` have the same meaning under a name of ours; those in `FOREIGN` are copied unchanged, and read by
no program. A file that is declared in `control.declared` needs no line here: it is the same there and here.

"""

from eqmail_core.control.controls import Controls

RENAMED = {
    "concurrencyincoming": Controls.smtpconcurrency.file,
    "tcp.smtp.cdb": Controls.tcprules_cdb.file,
}
"""Name of the other's file, name of ours."""

_SPF = "SPF: eqmail config set authcheck mark, or enforce"
_DKIM = "DKIM: eqmail dkim generate DOMAIN makes keys that sign; authcheck checks what arrives"
_SRS = "SRS: eqmail srs on"
_FILTER = "put the filter into beforequeue, or into QMAILQUEUE of the SMTP service"
_ROUTE = "give the host a route in smtproutes"

UNSUPPORTED = {
    "spfbehavior": _SPF,
    "spfrules": _SPF,
    "spfguess": _SPF,
    "spfexp": _SPF,
    "domainkeys": _DKIM,
    "dkimdomains": _DKIM,
    "dkimkeys": _DKIM,
    "srs_domain": _SRS,
    "srs_secrets": _SRS,
    "srs_maxage": _SRS,
    "badrcptto": "recipients that are refused: leave them without an alias, and list their domain in rcptcheck",
    "validrcptto.cdb": "recipients that exist: rcptcheck looks them up where they are delivered",
    "validrcptto": "recipients that exist: rcptcheck looks them up where they are delivered",
    "badhelo": "greetings that are refused: a plugin of the SMTP server may do it (control/smtpplugins)",
    "mfcheck": "domains of senders: a plugin of the SMTP server may ask for them (control/smtpplugins)",
    "dnsbllist": "lists in the DNS: write them into dnsbl, one a line",
    "taps": "copies of mail: deliver them with a .qmail file, or a program in beforequeue",
    "badmimetypes": f"content: {_FILTER}",
    "badmimetypes.cdb": f"content: {_FILTER}",
    "badloadertypes": f"content: {_FILTER}",
    "simcontrol": f"content: {_FILTER}",
    "bindroutes": "source address: outgoingip names one for all destinations, the routing table (ip route) many",
    "domainbindings": "source address: outgoingip names one for all senders",
    "qmtproutes": f"QMTP is not spoken to exchangers; {_ROUTE}",
    "authsenders": f"login by sender; {_ROUTE}, with user and password",
    "authuser": "accounts: authentication goes through the program in smtpcheckpw",
    "todointerval": "todo is scanned when something comes, and every 25 minutes",
    "rsa512.pem": "export-grade key, obsolete; remove it",
    "dh512.pem": "export-grade key, obsolete; remove it",
    "dh1024.pem": "short parameters: not used any more, remove it",
    "rsa1024.pem": "short key: not used any more, remove it",
    "locals.lock": "lock of vpopmail",
    "rcpthosts.lock": "lock of vpopmail",
    "virtualdomains.lock": "lock of vpopmail",
    "morercpthosts.lock": "lock of vpopmail",
}
"""Name of the foreign file or folder, and what to do instead."""
