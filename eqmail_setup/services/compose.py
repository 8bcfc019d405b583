"""Compose service files: the selected services and settings determine the files of a service manager.

Fails: Refusal for a service that a flavour cannot run or that is not installed, and for settings that contradict.
"""

import os
import shlex

from eqmail_core.control.controls import Controls, controls_in
from eqmail_core.site.site import Site
from eqmail_core.smtpd.handover_client import NO_HANDOVER_VARIABLE
from eqmail_core.system.files import read_file
from eqmail_setup.errors import EqmailError, usage_error
from eqmail_setup.installation.accounts import caller, user_name
from eqmail_setup.services.definitions import (
    MTA,
    OWN_CHECKER,
    SERVICES,
    SMTP_PROGRAM,
    ServiceDefinition,
    missing_programs,
)
from eqmail_setup.services.managers import ServiceFile, ServiceManager
from eqmail_setup.services.options import ServiceOptions, Settings, Socket, TemplateContext
from eqmail_setup.services.supervisor_tools import SUPERVISORS, fill

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def compose(
    manager: ServiceManager,
    site: Site,
    options: ServiceOptions,
    services: tuple[str, ...],
    root: str = "",
    installed: bool = True,
) -> list[ServiceFile]:
    """The files of these services, the folders before what lies in them; `installed`: their programs must be there.

    Fails: Refusal for a service that this flavour cannot run or that is not installed.
    """
    _require_known_keys(manager, options)
    chosen = list(dict.fromkeys(services or manager.default_services))
    settings: dict[str, Settings] = {}
    for name in chosen:
        _require_service(manager, name)
        if installed:
            _require_programs(manager, site, name, root)
        settings[name] = _settings(manager, site, options, name)
    resident = [
        _socket(SERVICES[name], settings[name])
        for name in chosen
        if name != MTA and settings[name].listener == "resident" and manager.listeners
    ]
    if resident and MTA not in chosen:
        raise usage_error(f"{resident[0].service} is served by the MTA here; add --service mta")
    _require_free_ports(manager, settings)
    found: list[ServiceFile] = []
    for name in chosen:
        definition = SERVICES[name]
        sockets = resident if name == MTA else [_socket(definition, settings[name])]
        found += manager.files(_values(manager, site, definition, settings[name], sockets, root))
    return found


def _require_known_keys(manager: ServiceManager, options: ServiceOptions) -> None:
    for key in sorted(options.keys() - set(manager.keys)):
        raise usage_error(f"--set {key}=...: unknown for {manager.title}; it has {', '.join(manager.keys)}")


def _require_service(manager: ServiceManager, name: str) -> None:
    if name not in manager.services:
        raise usage_error(f"{manager.title} cannot run {name}; it can run {', '.join(manager.services)}")


def _require_programs(manager: ServiceManager, site: Site, name: str, root: str) -> None:
    missing = missing_programs(SERVICES[name], site, root)
    if missing:
        here = [other for other in manager.services if not missing_programs(SERVICES[other], site, root)]
        raise EqmailError(
            f"{name} is not installed here: {', '.join(missing)} missing; here are {', '.join(here) or 'none'}"
        )


def _require_free_ports(manager: ServiceManager, settings: dict[str, Settings]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for name, own in settings.items():
        for host in own.hosts() if name != MTA else ():
            other = taken.setdefault((host, own.port), name)
            if other != name:
                raise usage_error(
                    f"{other} and {name} cannot both listen on port {own.port}; say --set {name}.port=NUMBER"
                )


def _settings(manager: ServiceManager, site: Site, options: ServiceOptions, name: str) -> Settings:
    definition = SERVICES[name]
    listener = next((kind for kind in manager.listeners if kind != "resident" or definition.resident), "resident")
    defaults: dict[str, object] = {
        "name": manager.name,
        "folder": manager.folder.format(home=site.home),
        "port": definition.port,
        "checkpassword": definition.checker.format(bin=site.bin),
        "rules": f"/etc/tcp.{name}.cdb",
        "logger": manager.logger,
        "scanned": manager.scanned or "/etc/service",
        "listener": listener if name != MTA else "resident",
        "handover": manager.handover,
    }
    own = options.settings(name, defaults)
    own = own if own.port else own.model_copy(update={"port": definition.port})
    if own.listener not in (*manager.listeners, "resident"):
        raise usage_error(f"--set listener={own.listener}: {manager.title} knows {', '.join(manager.listeners)}")
    if own.listener == "resident" and manager.listeners and name != MTA and not definition.resident:
        return own.model_copy(update={"listener": listener})
    if own.relay and not own.only_from:
        raise usage_error(
            "--set relay=yes: would let everybody relay; name the trusted clients with --set only_from=NETWORK"
        )
    if manager.logger and not own.logger:
        raise usage_error(f"--set logger=: {manager.title} needs a logger, because nothing else reads the log")
    return own


def effective_options(
    manager: ServiceManager, site: Site, options: ServiceOptions, services: tuple[str, ...]
) -> list[tuple[str, str, str]]:
    """Every option of a manager: key, value in force, manual; values that differ by service are all named."""
    chosen = list(dict.fromkeys(services or manager.services))
    settings = {name: _settings(manager, site, options, name) for name in chosen}
    found = []
    for key in manager.keys:
        texts: dict[str, list[str]] = {}
        for name, own in settings.items():
            if (key, name) != ("port", MTA):
                texts.setdefault(option_text(getattr(own, key)), []).append(name)
        parts = [f"{value} ({' '.join(names)})" if len(texts) > 1 else value for value, names in texts.items()]
        found.append((key, "; ".join(parts), Settings.model_fields[key].description or ""))
    return found


def option_text(value: object) -> str:
    """The value of an option for people, as --set takes it."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _socket(definition: ServiceDefinition, settings: Settings) -> Socket:
    hosts = [f"[{host}]" if ":" in host else host for host in settings.hosts()]
    addresses = [f"{host}:{settings.port}" for host in hosts]
    role = definition.listener
    return Socket(service=definition.name, title=definition.title, addresses=addresses, role=role)


def _environment(definition: ServiceDefinition, settings: Settings) -> dict[str, str]:
    """The variables of a service; those of the MTA also hold for the resident SMTP service below it."""
    found = {key: value.format(port=settings.port) for key, value in definition.environment}
    if SMTP_PROGRAM in definition.programs and not settings.handover:
        found[os.fsdecode(NO_HANDOVER_VARIABLE)] = ""
    return found


def _values(
    manager: ServiceManager,
    site: Site,
    definition: ServiceDefinition,
    settings: Settings,
    sockets: list[Socket],
    root: str,
) -> TemplateContext:
    role = "" if site.single_user else definition.role
    log_user, log_group = site.accounts.user("qmaill"), site.accounts.group("qmaill")
    tools = SUPERVISORS.get(manager.tools)
    logs = f"{settings.logdir}/{settings.name}-{definition.daemon}"
    become = fill(tools.setuidgid_command, user=log_user, group=log_group) if tools and not site.single_user else []
    amounts = {"size": settings.log_size, "count": settings.log_count}
    return TemplateContext(
        **settings.model_dump(),
        service=definition.name,
        daemon=definition.daemon,
        title=definition.title,
        home=site.home,
        bin=site.bin,
        path=f"{site.bin}:{SYSTEM_PATH}",
        delivery_file=f"{site.control}/{Controls.defaultdelivery.file}",
        me_file=f"{site.control}/{Controls.me.file}",
        program=_program(site, definition, settings, root),
        user=site.accounts.user(role) if role else "",
        group=site.accounts.group(role) if role else "",
        privileged=_checker(settings) not in ([], [f"{site.bin}/{OWN_CHECKER}"]),
        starter=caller()[0] if site.single_user else user_name(0),
        environment=_environment(definition, settings),
        sockets=sockets,
        # tcpserver does not know ::, but where it knows IPv6, as qmail-tcpsrv does, 0 is every address of both kinds.
        host="0" if settings.hosts()[1:] else settings.address,
        with_environment=list(tools.environment) if tools else [],
        with_memory=fill(tools.memory, memory=settings.memory) if tools and settings.memory else [],
        log_program=become + (fill(tools.log, **amounts, logs=logs) if tools else []),
        log_config=fill(tools.log_config, **amounts) if tools else [],
    )


def _checker(settings: Settings) -> list[str]:
    """The program that checks passwords, without its arguments."""
    return shlex.split(settings.checkpassword)[:1]


def _program(site: Site, definition: ServiceDefinition, settings: Settings, root: str) -> list[str]:
    first, *rest = [f"{site.bin}/{program}" for program in definition.programs]
    checker = shlex.split(settings.checkpassword)
    if not rest:
        return [first, *checker]
    name = (controls_in(f"{root}{site.control}", read_file).me or b"unknown").decode("ascii", "replace")
    return [first, name, *checker, *rest, "Maildir"]
