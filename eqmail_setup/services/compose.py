"""From wishes to files: which services, with which settings, make which files of one flavour.

Fails: Refusal for a service that a flavour cannot run or that is not installed, and for settings that contradict.
"""

import os
import shlex

from eqmail_core.control.controls import controls_in
from eqmail_core.control.declared import Controls
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
    SUBMISSION,
    SUBMISSION_PORTS,
    ServiceDefinition,
    missing_programs,
)
from eqmail_setup.services.managers import ServiceFile, ServiceManager
from eqmail_setup.services.options import ServiceOptions, Settings, Socket, TemplateContext
from eqmail_setup.services.supervisor_tools import SUPERVISORS, fill

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def compose(
    flavour: ServiceManager,
    site: Site,
    wishes: ServiceOptions,
    services: tuple[str, ...],
    root: str = "",
    installed: bool = True,
) -> list[ServiceFile]:
    """The files of these services, the folders before what lies in them; `installed`: their programs must be there.

    Fails: Refusal for a service that this flavour cannot run or that is not installed.
    """
    _require_known_keys(flavour, wishes)
    chosen = list(dict.fromkeys(services or flavour.default_services))
    settings: dict[str, Settings] = {}
    for name in chosen:
        _require_service(flavour, name)
        if installed:
            _require_programs(flavour, site, name, root)
        settings[name] = _settings(flavour, site, wishes, name)
    resident = [
        _socket(SERVICES[name], settings[name])
        for name in chosen
        if name != MTA and settings[name].listener == "resident" and flavour.listeners
    ]
    if resident and MTA not in chosen:
        raise usage_error(f"{resident[0].service} is served by the MTA here; add --service mta")
    _require_free_ports(flavour, settings)
    found: list[ServiceFile] = []
    for name in chosen:
        offer = SERVICES[name]
        sockets = resident if name == MTA else [_socket(offer, settings[name])]
        found += flavour.files(_values(flavour, site, offer, settings[name], sockets, root))
    return found


def _require_known_keys(flavour: ServiceManager, wishes: ServiceOptions) -> None:
    for key in sorted(wishes.keys() - set(flavour.keys)):
        raise usage_error(f"--set {key}=...: means nothing for {flavour.title}; it obeys {', '.join(flavour.keys)}")


def _require_service(flavour: ServiceManager, name: str) -> None:
    if name not in flavour.services:
        raise usage_error(f"{flavour.title} cannot run {name}; it can run {', '.join(flavour.services)}")


def _require_programs(flavour: ServiceManager, site: Site, name: str, root: str) -> None:
    missing = missing_programs(SERVICES[name], site, root)
    if missing:
        here = [other for other in flavour.services if not missing_programs(SERVICES[other], site, root)]
        raise EqmailError(
            f"{name} is not installed here: {', '.join(missing)} missing; here are {', '.join(here) or 'none'}"
        )


def _require_free_ports(flavour: ServiceManager, settings: dict[str, Settings]) -> None:
    taken: dict[tuple[str, int], str] = {}
    for name, own in settings.items():
        for host in own.hosts() if name != MTA else ():
            other = taken.setdefault((host, own.port), name)
            if other != name:
                raise usage_error(
                    f"{other} and {name} cannot both listen on port {own.port}; say --set {name}.port=NUMBER"
                )


def _settings(flavour: ServiceManager, site: Site, wishes: ServiceOptions, name: str) -> Settings:
    offer = SERVICES[name]
    listener = next((kind for kind in flavour.listeners if kind != "resident" or offer.resident), "resident")
    defaults: dict[str, object] = {
        "name": flavour.name,
        "folder": flavour.folder.format(home=site.home),
        "port": offer.port,
        "checkpassword": offer.checker.format(bin=site.bin),
        "rules": f"/etc/tcp.{name}.cdb",
        "logger": flavour.logger,
        "scanned": flavour.scanned or "/etc/service",
        "listener": listener if name != MTA else "resident",
        "handover": flavour.handover,
    }
    own = wishes.settings(name, defaults)
    own = own if own.port else own.model_copy(update={"port": offer.port})
    if own.listener not in (*flavour.listeners, "resident"):
        raise usage_error(f"--set listener={own.listener}: {flavour.title} knows {', '.join(flavour.listeners)}")
    if own.listener == "resident" and flavour.listeners and name != MTA and not offer.resident:
        return own.model_copy(update={"listener": listener})
    if own.relay and not own.only_from:
        raise usage_error(
            "--set relay=yes: would let everybody relay; name the trusted clients with --set only_from=NETWORK"
        )
    if flavour.logger and not own.logger:
        raise usage_error(f"--set logger=: {flavour.title} needs a logger, because nothing else reads the log")
    return own


def _socket(offer: ServiceDefinition, settings: Settings) -> Socket:
    hosts = [f"[{host}]" if ":" in host else host for host in settings.hosts()]
    addresses = [f"{host}:{settings.port}" for host in hosts]
    return Socket(service=offer.name, title=offer.title, addresses=addresses, tls=offer.tls)


def _environment(offer: ServiceDefinition, settings: Settings, sockets: list[Socket]) -> dict[str, str]:
    """The variables of a service; those of the MTA also hold for the resident SMTP service below it."""
    found = {key: value.format(port=settings.port) for key, value in offer.environment}
    if offer.name == MTA:
        # In the order of the offers, so that an order of wishes changes nothing.
        inside = [
            socket.addresses[0] for name in SERVICES for socket in sockets if socket.service == name in SUBMISSION
        ]
        ports = [address.rpartition(":")[2] for address in inside]
        found |= {SUBMISSION_PORTS: " ".join(ports)} if ports else {}
    if SMTP_PROGRAM in offer.programs and not settings.handover:
        found[os.fsdecode(NO_HANDOVER_VARIABLE)] = ""
    return found


def _values(
    flavour: ServiceManager, site: Site, offer: ServiceDefinition, settings: Settings, sockets: list[Socket], root: str
) -> TemplateContext:
    role = "" if site.single_user else offer.role
    log_user, log_group = site.accounts.user("qmaill"), site.accounts.group("qmaill")
    kit = SUPERVISORS.get(flavour.kit)
    logs = f"{settings.logdir}/{settings.name}-{offer.daemon}"
    become = fill(kit.setuidgid_command, user=log_user, group=log_group) if kit and not site.single_user else []
    amounts = {"size": settings.log_size, "count": settings.log_count}
    return TemplateContext(
        **settings.model_dump(),
        service=offer.name,
        daemon=offer.daemon,
        title=offer.title,
        home=site.home,
        bin=site.bin,
        path=f"{site.bin}:{SYSTEM_PATH}",
        delivery_file=f"{site.control}/{Controls.defaultdelivery.file}",
        me_file=f"{site.control}/{Controls.me.file}",
        program=_program(site, offer, settings, root),
        user=site.accounts.user(role) if role else "",
        group=site.accounts.group(role) if role else "",
        privileged=_checker(settings) not in ([], [f"{site.bin}/{OWN_CHECKER}"]),
        starter=caller()[0] if site.single_user else user_name(0),
        environment=_environment(offer, settings, sockets),
        sockets=sockets,
        # tcpserver does not know ::, but where it knows IPv6, as qmail-tcpsrv does, 0 is every address of both kinds.
        host="0" if settings.hosts()[1:] else settings.address,
        with_environment=list(kit.environment) if kit else [],
        with_memory=fill(kit.memory, memory=settings.memory) if kit and settings.memory else [],
        log_program=become + (fill(kit.log, **amounts, logs=logs) if kit else []),
        log_config=fill(kit.log_config, **amounts) if kit else [],
    )


def _checker(settings: Settings) -> list[str]:
    """The program that checks passwords, without its arguments."""
    return shlex.split(settings.checkpassword)[:1]


def _program(site: Site, offer: ServiceDefinition, settings: Settings, root: str) -> list[str]:
    first, *rest = [f"{site.bin}/{program}" for program in offer.programs]
    checker = shlex.split(settings.checkpassword)
    if not rest:
        return [first, *checker]
    name = (controls_in(f"{root}{site.control}", read_file).me or b"unknown").decode("ascii", "replace")
    return [first, name, *checker, *rest, "Maildir"]
