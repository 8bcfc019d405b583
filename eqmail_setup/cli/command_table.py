"""The commands of eqmail: in which section of the help each stands, where it lives, and one line of help.

The line begins with an imperative and has at most 60 characters. Commands without a section are hidden.
"""

from typing import NamedTuple

SECTIONS = ("Set up", "Mail", "Configure", "Operate", "Diagnose", "History", "Migrate", "Shell")


class CommandEntry(NamedTuple):
    """One command: its module below `cli.commands`, its help in one line, and its section."""

    module: str
    help: str
    section: str


COMMANDS = {
    "quickstart": CommandEntry("quickstart", "Set up a complete mail server on this host.", "Set up"),
    "setup": CommandEntry("setup", "Install eQmail or repair an installation.", "Set up"),
    "mkusers": CommandEntry("mkusers", "Create the accounts that the services run as.", "Set up"),
    "config-fast": CommandEntry("config_fast", "Write the first settings from the host name.", "Set up"),
    "uninstall": CommandEntry("uninstall", "Remove an installation; settings and mail stay.", "Set up"),
    "demo": CommandEntry("demo", "Run a demonstration without root in one folder.", "Set up"),
    "domain": CommandEntry("domain", "Manage domains and who receives their mail.", "Mail"),
    "user": CommandEntry("user", "Manage users who receive mail.", "Mail"),
    "mailbox": CommandEntry("mailbox", "Manage mailboxes with password, quota and forwarding.", "Mail"),
    "alias": CommandEntry("alias", "Manage aliases and required addresses.", "Mail"),
    "auth": CommandEntry("auth", "Manage credentials for sending and fetching mail.", "Mail"),
    "dns": CommandEntry("dns", "Show and check the DNS records that mail needs.", "Mail"),
    "config": CommandEntry("config", "Show and change settings.", "Configure"),
    "cert": CommandEntry("cert", "Create, install, renew and show the certificate.", "Configure"),
    "dkim": CommandEntry("dkim", "Make, rotate, show and check the keys that sign mail.", "Configure"),
    "srs": CommandEntry("srs", "Rewrite the senders of forwarded mail.", "Configure"),
    "batv": CommandEntry("batv", "Sign senders, so that false bounces are known.", "Configure"),
    "dmarc": CommandEntry("dmarc", "Show which DMARC policy applies to a domain.", "Diagnose"),
    "service": CommandEntry("service", "Install, start, stop, restart and inspect the services.", "Operate"),
    "apply": CommandEntry("apply", "Make the installation what a TOML document says.", "Configure"),
    "dump": CommandEntry("dump", "Write the installation as a TOML document.", "Configure"),
    "gen-systemd": CommandEntry("gen_systemd", "Generate systemd units.", "Operate"),
    "gen-init": CommandEntry("gen_init", "Generate an init script for SysV or OpenRC.", "Operate"),
    "gen-runit": CommandEntry("gen_runit", "Generate service folders for runit.", "Operate"),
    "gen-s6": CommandEntry("gen_s6", "Generate service folders for s6.", "Operate"),
    "gen-daemontools": CommandEntry("gen_daemontools", "Generate service folders for daemontools.", "Operate"),
    "gen-xinetd": CommandEntry("gen_xinetd", "Generate xinetd services for SMTP.", "Operate"),
    "gen-dovecot": CommandEntry("gen_dovecot", "Generate the configuration of Dovecot for IMAP and POP3.", "Operate"),
    "run": CommandEntry("run", "Run the services in the foreground.", "Operate"),
    "reload": CommandEntry("reload", "Make running services read changed settings.", "Operate"),
    "queue": CommandEntry("queue", "Show, retry, hold, return, delete and move messages.", "Operate"),
    "cluster": CommandEntry("cluster", "Manage the nodes that share a queue in PostgreSQL.", "Operate"),
    "status": CommandEntry("status", "Show services, queue, problems and what is pending.", "Operate"),
    "probe": CommandEntry("probe", "Test a conversation with an SMTP server.", "Diagnose"),
    "test": CommandEntry("test", "Send a test message and follow it.", "Diagnose"),
    "report": CommandEntry("report", "Write a support bundle without passwords and keys.", "Diagnose"),
    "log": CommandEntry("log", "Trace messages through the logs; summarize the logs.", "Diagnose"),
    "check": CommandEntry("check", "Compare an installation with its manifest; repair it.", "Diagnose"),
    "doctor": CommandEntry("doctor", "Find problems and show how to solve them.", "Diagnose"),
    "explain": CommandEntry("explain", "Show how mail for an address is routed and delivered.", "Diagnose"),
    "history": CommandEntry("history", "List the changes to an installation.", "History"),
    "rollback": CommandEntry("rollback", "Undo a change.", "History"),
    "backup": CommandEntry("backup", "Save settings, users and aliases to an archive.", "Migrate"),
    "restore": CommandEntry("restore", "Restore settings, users and aliases from an archive.", "Migrate"),
    "import": CommandEntry("import_", "Import another qmail: settings, users, aliases, queue.", "Migrate"),
    "export": CommandEntry("export", "Export everything to another qmail installation.", "Migrate"),
    "completion": CommandEntry("completion", "Print or install a completion script for a shell.", "Shell"),
    "help": CommandEntry("help", "Show the help of a command.", "Shell"),
    "reference": CommandEntry("reference", "", ""),
}

SUBCOMMANDS = {
    "domain add": "Accept and deliver mail for a domain.",
    "user add": "Deliver mail for a local part to a user.",
    "user compile": "Compile users/assign.",
    "user import-passwd": "Add an entry for every account that owns its home.",
    "user passwd": "Set the SMTP password of a login.",
    "mailbox add": "Create a mailbox in any domain.",
    "mailbox passwd": "Set the password of a mailbox.",
    "mailbox quota": "Set how much mail a mailbox may hold.",
    "mailbox remove": "Remove a mailbox and its login; the mail stays.",
    "alias add": "Forward or deliver mail for a local part.",
    "alias init": "Create the required aliases.",
    "auth set": "Set the password of a login.",
    "auth test": "Check a password as the SMTP server does.",
    "dns check": "Check whether the DNS records are published.",
    "dns records": "Show the DNS records to publish.",
    "config add": "Add lines to a list or a map.",
    "config edit": "Edit a control file with $EDITOR.",
    "config explain": "Explain a setting: meaning, value, readers, effect.",
    "config export": "Write all settings as JSON, without secrets.",
    "config get": "Write the bytes of a control file.",
    "config import": "Set the settings of a JSON file.",
    "config remove": "Remove lines from a list or a map.",
    "config search": "Find settings by words of their description.",
    "config show": "Show all settings, or one.",
    "cert install": "Install a certificate of an authority.",
    "cert make": "Create a self-signed certificate.",
    "cert renew": "Renew a self-signed certificate that expires soon.",
    "cert show": "Show the certificate and its TLSA record.",
    "dkim check": "Compare DKIM keys with the published records.",
    "dkim generate": "Create a pair of DKIM keys for a domain.",
    "dkim record": "Show the DNS records of DKIM keys.",
    "dkim rotate": "Do the next step of replacing DKIM keys.",
    "dkim test": "Sign and verify a test message.",
    "srs off": "Remove the secrets of SRS.",
    "batv off": "Remove the secrets of BATV.",
    "srs rotate": "Make another secret the current one.",
    "batv rotate": "Make another secret the current one.",
    "service install": "Generate and install service files.",
    "service reload": "Make running services read changed settings.",
    "service remove": "Stop the services and remove their files.",
    "service restart": "Stop and start the services.",
    "service status": "Show the state of each process.",
    "queue move": "Move messages to another installation.",
    "queue resume": "Resume deliveries to suspended domains.",
    "queue show": "Show one message with recipients and replies.",
    "queue stats": "Count waiting recipients by domain and age.",
    "queue suspend": "Stop deliveries to domains for a while.",
    "cluster forget": "Remove a node that does not run any more.",
    "cluster init": "Create or update the tables of the shared queue.",
    "cluster status": "Show nodes, leases and waiting messages.",
}
"""One line of help for commands below a group whose first sentence is longer than a line."""
