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
    "dmarc": CommandEntry("dmarc", "Show which DMARC policy applies to a domain.", "Diagnose"),
    "service": CommandEntry("service", "Install, start, stop, restart and inspect the services.", "Operate"),
    "gen-systemd": CommandEntry("gen_systemd", "Generate systemd units.", "Operate"),
    "gen-init": CommandEntry("gen_init", "Generate an init script for SysV or OpenRC.", "Operate"),
    "gen-runit": CommandEntry("gen_runit", "Generate service folders for runit.", "Operate"),
    "gen-s6": CommandEntry("gen_s6", "Generate service folders for s6.", "Operate"),
    "gen-daemontools": CommandEntry("gen_daemontools", "Generate service folders for daemontools.", "Operate"),
    "gen-xinetd": CommandEntry("gen_xinetd", "Generate xinetd services for SMTP.", "Operate"),
    "run": CommandEntry("run", "Run the services in the foreground.", "Operate"),
    "reload": CommandEntry("reload", "Make running services read changed settings.", "Operate"),
    "queue": CommandEntry("queue", "Show, retry, hold, return, delete and move messages.", "Operate"),
    "cluster": CommandEntry("cluster", "Manage the nodes that share a queue in PostgreSQL.", "Operate"),
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
