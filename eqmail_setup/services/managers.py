"""Which files each init system or supervisor wants, from which templates, and where they go; one row each.

Fails: Refusal for what a flavour cannot write down.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from eqmail_setup.errors import EqmailError
from eqmail_setup.services.definitions import MTA, SERVICES
from eqmail_setup.services.options import TemplateContext
from eqmail_setup.services.supervisor_tools import SUPERVISORS


class ServiceFile(NamedTuple):
    """One file, or a folder where there is no template; `extra` are variables of this piece alone.

    `path` is its place, `short` its place below --output ("" for none), `role` the account that owns it: "" is the
    system's own, root.
    """

    path: str
    short: str
    template: str
    values: TemplateContext
    mode: int = 0o644
    role: str = ""
    extra: tuple[tuple[str, str], ...] = ()


class ServiceManager(NamedTuple):
    """One way to run services.

    `listeners`: who can accept connections, the usual one first; empty where the flavour itself does. `services` are
    those it can run, `usual` those it runs by default. `keys` are the settings it supports, `files` makes the
    files of one service; links in the folder `scanned` and then the commands `next` activate them. `handover`: its
    programs may hand their clients over, unless that is switched off.  `sign`: a path that exists where it runs.
    """

    title: str
    folder: str
    name: str
    listeners: tuple[str, ...]
    services: tuple[str, ...]
    default_services: tuple[str, ...]
    keys: tuple[str, ...]
    files: Callable[[TemplateContext], Iterator[ServiceFile]]
    next: tuple[str, ...] = ()
    logger: str = ""
    tools: str = ""
    scanned: str = ""
    handover: bool = True
    sign: str = ""


def _xinetd(values: TemplateContext) -> Iterator[ServiceFile]:
    if any(character.isspace() for character in values.home):
        raise EqmailError(f"{values.home}: xinetd knows no quoting, so a home must not have white space")
    script = "qmail-xinetd" if values.service == "smtp" else f"qmail-xinetd-{values.service}"
    extra = (("script", f"{values.home}/boot/{script}"),)
    name = values.service if values.name == NAME else f"{values.name}-{values.service}"
    yield ServiceFile(f"{values.home}/boot", ".", "", values, 0o755, "owner")
    yield ServiceFile(f"{values.home}/boot/{script}", script, "services/xinetd/run.j2", values, 0o755, "owner", extra)
    yield ServiceFile(f"{values.folder}/{name}", name, "services/xinetd/service.j2", values, extra=extra)


def _sysv(values: TemplateContext) -> Iterator[ServiceFile]:
    if values.service == MTA:
        yield ServiceFile(f"{values.folder}/{values.name}", values.name, "services/init/sysv.j2", values, 0o755)


def _openrc(values: TemplateContext) -> Iterator[ServiceFile]:
    if values.service == MTA:
        yield ServiceFile(f"{values.folder}/{values.name}", values.name, "services/init/openrc.j2", values, 0o755)


def _supervised(values: TemplateContext) -> Iterator[ServiceFile]:
    if values.service != MTA and values.listener == "resident":
        return
    short = f"{values.name}-{values.daemon}"
    base, logs = f"{values.folder}/{short}", f"{values.logdir}/{short}"
    template = "services/supervised/mta-run.j2" if values.service == MTA else "services/supervised/server-run.j2"
    for folder in ("", "/env", "/log"):
        yield ServiceFile(base + folder, short + folder, "", values, 0o755)
    for key, value in {"PATH": values.path, **values.environment}.items():
        extra = (("value", value),)
        yield ServiceFile(
            f"{base}/env/{key}", f"{short}/env/{key}", "services/supervised/env.j2", values, 0o644, "", extra
        )
    yield ServiceFile(logs, "", "", values, 0o750, "qmaill")
    if values.log_config:
        extra = (("value", "\n".join(values.log_config)),)
        yield ServiceFile(f"{logs}/config", "", "services/supervised/env.j2", values, 0o644, "", extra)
    yield ServiceFile(f"{base}/log/run", f"{short}/log/run", "services/supervised/log-run.j2", values, 0o755)
    yield ServiceFile(f"{base}/run", f"{short}/run", template, values, 0o755)


def _systemd(values: TemplateContext) -> Iterator[ServiceFile]:
    def unit(name: str, template: str) -> ServiceFile:
        return ServiceFile(f"{values.folder}/{name}", name, f"services/systemd/{template}.j2", values)

    if values.service == MTA:
        yield unit(f"{values.name}.service", "mta.service")
    elif values.listener == "resident":
        yield unit(f"{values.name}-{values.service}.socket", "resident.socket")
    else:
        yield unit(f"{values.name}-{values.daemon}@.service", "server@.service")
        yield unit(f"{values.name}-{values.daemon}.socket", "server.socket")


NAME = "qmail"
_SPLOGGER = "splogger qmail"
_SERVERS = tuple(name for name in SERVICES if name != MTA)
_RESIDENT = tuple(name for name, offer in SERVICES.items() if offer.resident or name == MTA)
_LISTENING = ("address", "ipv6", "port")


def _supervisor(name: str) -> ServiceManager:
    tools = SUPERVISORS[name]
    return ServiceManager(
        title=name,
        folder=tools.folder,
        name=NAME,
        listeners=("tcpserver", "resident"),
        services=tuple(SERVICES),
        default_services=(MTA, "smtp"),
        keys=(
            *("name", "folder", "delivery", "listener", *_LISTENING, "concurrency", "memory", "checkpassword"),
            *("tcpserver", "handover", "rules", "scanned", "logdir", "log_size", "log_count"),
        ),
        files=_supervised,
        next=tools.next,
        tools=name,
        scanned=tools.scanned,
    )


def _init(
    title: str,
    files: Callable[[TemplateContext], Iterator[ServiceFile]],
    following: tuple[str, ...],
    sign: str = "",
) -> ServiceManager:
    return ServiceManager(
        title=title,
        folder="/etc/init.d",
        name=NAME,
        listeners=("resident",),
        services=_RESIDENT,
        default_services=(MTA,),
        keys=("name", "folder", "delivery", "logger", *_LISTENING, "pidfile", "stop_timeout"),
        files=files,
        next=following,
        logger=_SPLOGGER,
        sign=sign,
    )


MANAGERS = {
    "xinetd": ServiceManager(
        title="xinetd",
        folder="/etc/xinetd.d",
        name=NAME,
        listeners=(),
        services=_SERVERS,
        default_services=("smtp",),
        keys=(
            *("name", "folder", *_LISTENING, "concurrency", "per_source", "checkpassword", "handover"),
            *("only_from", "relay"),
        ),
        files=_xinetd,
        next=("service xinetd restart",),
    ),
    "sysv": _init("a SysV init script", _sysv, ("update-rc.d {name} defaults", "service {name} start")),
    "openrc": _init(
        *("OpenRC", _openrc, ("rc-update add {name} default", "rc-service {name} start")), sign="/run/openrc/softlevel"
    ),
    "daemontools": _supervisor("daemontools"),
    "runit": _supervisor("runit"),
    "s6": _supervisor("s6"),
    "systemd": ServiceManager(
        title="systemd",
        folder="/etc/systemd/system",
        name="eqmail",
        listeners=("resident", "socket"),
        services=tuple(SERVICES),
        default_services=(MTA, "smtp"),
        keys=(
            *("name", "folder", "delivery", "listener", *_LISTENING, "concurrency", "per_source", "memory"),
            *("checkpassword", "handover", "stop_timeout"),
        ),
        files=_systemd,
        # What a socket unit is chosen for is what its program may not do; the service may do more.
        handover=False,
        next=("systemctl daemon-reload", "systemctl enable --now {units}"),
        sign="/run/systemd/system",
    ),
}
"""Every flavour by its name."""
