"""Every command of `eqmail` with words that are right for it, on an installation that has what they name."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from eqmail_setup.cli.app import cli, run
from eqmail_setup.mail import certificates as keys

HASH = "$6$abcdefgh$" + "a" * 86

ARGUMENTS: dict[str, list[str]] = {
    "quickstart": ["mail.example.org"],
    "setup": [],
    "mkusers": [],
    "config-fast": ["mail.example.org"],
    "uninstall": [],
    "demo": [],
    "domain add": ["new.example"],
    "domain list": [],
    "domain remove": ["mail.example.org"],
    "user add": ["new"],
    "user compile": [],
    "user import-passwd": ["{files}/passwd"],
    "user list": [],
    "user passwd": ["ann", "--hash", HASH],
    "user remove": ["foo"],
    "user show": ["foo"],
    "mailbox add": ["new@example.net"],
    "mailbox forward": ["ann@example.net", "ann@elsewhere.example"],
    "mailbox list": [],
    "mailbox passwd": ["ann@example.net", "--hash", HASH],
    "mailbox quota": ["ann@example.net", "5G"],
    "mailbox remove": ["ann@example.net"],
    "alias add": ["new", "joe@elsewhere.example"],
    "alias init": ["joe@elsewhere.example"],
    "alias list": [],
    "alias remove": ["sales"],
    "alias show": ["sales"],
    "auth list": [],
    "auth remove": ["ann"],
    "auth set": ["ann", "--hash", HASH],
    "auth test": ["ann", "--stdin"],
    "dns check": [],
    "dns records": [],
    "config add": ["badmailfrom", "@new.example"],
    "config diff": [],
    "config edit": ["badmailfrom"],
    "config explain": ["me"],
    "config export": [],
    "config get": ["me"],
    "config import": ["{files}/settings.json"],
    "config lint": [],
    "config remove": ["badmailfrom", "@spam.example"],
    "config schema": [],
    "config search": ["password"],
    "config set": ["databytes", "20M"],
    "config show": [],
    "config unset": ["badmailfrom"],
    "cert acme": ["mail.example.org"],
    "cert hook": ["certbot"],
    "cert install": ["{files}/pair.pem", "{files}/pair.pem"],
    "cert make": ["--replace"],
    "cert renew": [],
    "cert show": [],
    "cert timer": [],
    "dkim check": [],
    "dkim generate": ["new.example"],
    "dkim record": ["example.net"],
    "dkim rotate": ["example.net"],
    "dkim test": ["example.net"],
    "dmarc policy": ["example.net"],
    "dmarc reports list": [],
    "dmarc reports off": [],
    "dmarc reports on": [],
    "dmarc reports send": [],
    "dmarc reports show": ["{files}/log"],
    "service install": ["--manager", "xinetd", "--no-start", "--set", "folder={files}/xinetd.d"],
    "service list": [],
    "service logs": [],
    "service reload": [],
    "service remove": [],
    "service restart": [],
    "service show": [],
    "service start": [],
    "service status": [],
    "service stop": [],
    "apply": ["{files}/site.toml"],
    "dump": [],
    "gen-systemd": [],
    "gen-init": [],
    "gen-runit": [],
    "gen-s6": [],
    "gen-daemontools": [],
    "gen-xinetd": [],
    "gen-dovecot": [],
    "run": [],
    "reload": [],
    "queue bounce": ["--all"],
    "queue delete": ["--all"],
    "queue hold": ["--all"],
    "queue list": [],
    "queue move": ["--all", "--to", "{files}/other"],
    "queue release": ["--all"],
    "queue resume": ["busy.example"],
    "queue retry": ["--all"],
    "queue show": ["{message}"],
    "queue stats": [],
    "queue suspend": ["new.example"],
    "srs off": [],
    "srs on": [],
    "srs rotate": [],
    "batv off": [],
    "batv on": [],
    "batv rotate": [],
    "greylist forget": ["192.0.2.1"],
    "greylist list": [],
    "limits": [],
    "tls check": ["example.net"],
    "cluster demo": [],
    "cluster drain": ["node"],
    "cluster forget": ["node", "--yes"],
    "cluster init": [],
    "cluster status": [],
    "status": [],
    "probe mx": ["example.net"],
    "probe smtp": ["127.0.0.1", "--port", "1"],
    "test send": ["ann@example.net"],
    "report": ["{files}/report.tar.gz"],
    "log summary": ["--file", "{files}/log"],
    "log trace": ["28", "--file", "{files}/log"],
    "check": [],
    "doctor": ["--offline"],
    "explain": ["ann@example.net"],
    "history": [],
    "rollback": [],
    "backup": ["{files}/backup.tar.gz"],
    "restore": ["{files}/saved.tar.gz"],
    "import": ["{files}/old"],
    "export": ["--to", "netqmail", "{files}/back"],
    "completion": ["bash"],
    "help": [],
}
"""{files} is the folder of files that commands read and write, {message} the number of a queued message."""


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Name and command of each leaf of the tree."""
    yield from _leaves("", cli, click.Context(cli, info_name="eqmail"))


def _leaves(name: str, command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    for inner in command.list_commands(context):
        found = command.get_command(context, inner)
        assert found is not None
        yield from _leaves(f"{name} {inner}".strip(), found, click.Context(found, parent=context, info_name=inner))


def options(command: click.Command) -> set[str]:
    """The names of its options."""
    return {option for parameter in command.params for option in parameter.opts}


def words_of(name: str, home: str, files: Path, message: int = 28) -> list[str]:
    """The command line of a command, without options beyond those of the table."""
    return ["--home", home, *name.split(" "), *(word.format(files=files, message=message) for word in ARGUMENTS[name])]


def furnish(home: str, files: Path) -> None:
    """Give an installation everything that the commands of the table name."""
    files.mkdir(exist_ok=True)
    (files / "settings.json").write_text('{"concurrencyremote": "7\\n"}')
    (files / "site.toml").write_text('schema = "eqmail/site-1"\n[settings]\ndatabytes = "20M"\n')
    (files / "log").write_text("2026-12-01 10:00:00 new msg 28\n")
    (files / "passwd").write_text("alias:x:1:1::/nowhere:/bin/sh\n")
    pair = keys.self_signed(keys.new_key(keys.ECDSA), ["mail.example.org"], datetime.now(UTC), 90)
    (files / "pair.pem").write_bytes(pair)
    for words in (
        "alias add sales joe@elsewhere.example",
        "user add foo",
        "mailbox add ann@example.net",
        f"auth set ann --hash {HASH}",
        "config add badmailfrom @spam.example",
        "queue suspend busy.example",
        "srs on",
        "batv on",
        f"cert install {files}/pair.pem {files}/pair.pem",
        "dkim generate example.net",
        f"service install --manager xinetd --no-start --set folder={files}/xinetd.d",
        f"backup {files}/saved.tar.gz",
    ):
        code = run(["--home", home, *words.split(" ")])
        assert code == 0, words
