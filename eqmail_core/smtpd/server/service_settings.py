"""Read the settings of the resident SMTP service, for the service itself and for commands that predict its replies.

Fails: ControlError, OSError: as `read_policy_config`.
Source: smtp-server.md 4.1; control-files.md 2.9.
"""

import os
from collections.abc import Callable, Iterable

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.access.networks import NetworkSet
from eqmail_core.auth.scram_secrets import ScramSecrets
from eqmail_core.auth.secrets_file import FILE as SECRETS
from eqmail_core.control.controls import Controls
from eqmail_core.filters.chain import read_filters
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.config import PolicyConfig
from eqmail_core.smtpd.server.config import AddressLimits, ServerConfig
from eqmail_core.smtpd.server.config_reader import PolicyConfigCache, read_tls
from eqmail_core.system.files import read_file
from eqmail_core.system.installation import read_controls
from eqmail_core.tcpserver.rules import Rule
from eqmail_core.tcpserver.rules_database import find_rule
from eqmail_core.tls.server import ServerTlsContexts
from eqmail_core.tls.session_info import TlsUnavailable

Warn = Callable[[bytes], None]

# Password checks are CPU-bound: more of them at a time would not finish sooner.  Plugins mostly wait.
_CHECKERS_PER_PROCESSOR = 2
_QUEUE_PROGRAMS_PER_PROCESSOR = 32
_PLUGINS_PER_PROCESSOR = 32


def read_settings(site: Site, environ: dict[bytes, bytes], ports: Iterable[int], warn: Warn) -> ServerConfig:
    """Read the current settings of a service on these ports; `warn` gets what is ignored."""
    controls = read_controls(site, environ)
    checker = (controls.smtpcheckpw or b"").split()
    tls = _read_tls(site, controls, warn)
    if tls is not None:
        # A password that could be encrypted is not accepted in clear text, unless the administrator allows it.
        environ = {b"TLSREQUIRED": b"1"} | environ
    builder = PolicyConfigCache(site, controls, morercpthosts_lookup(site), tls is not None)
    policies = {port: builder.policy_for(port, environ, checker) for port in set(ports)}
    _log_ignored(policies, warn)
    return ServerConfig(
        policies=policies,
        local_name=controls.me or b"unknown",
        environ=environ,
        relay_clients=_networks(Controls.relayclients.file, controls.relayclients, warn),
        checker=checker,
        limit=controls.smtpconcurrency,
        timeout_s=controls.timeoutsmtpd,
        tls=tls,
        limits=_limits(controls),
        rule_for=_rules_of(site),
        proxies=_networks(Controls.proxyfrom.file, controls.proxyfrom, warn),
        filters=read_filters(controls, warn),
        policy_for=builder.policy_for,
        find_scram_keys=ScramSecrets(f"{site.users}/{SECRETS}", read_file).find,
    )


def _limits(controls: Controls) -> AddressLimits:
    processors = len(os.sched_getaffinity(0))
    return AddressLimits(
        sessions=controls.smtpperaddress,
        login_failures=controls.smtpauthfailures,
        idle_s=controls.smtpidle,
        checkers=controls.smtpcheckers or _CHECKERS_PER_PROCESSOR * processors,
        plugins=controls.smtppluginprocesses or _PLUGINS_PER_PROCESSOR * processors,
        queue_programs=controls.smtpqueueprocesses or _QUEUE_PROGRAMS_PER_PROCESSOR * processors,
    )


def _rules_of(site: Site) -> Callable[[bytes], Rule | None]:
    """Return the function that finds the rule for a client, while the rules file exists."""
    path = f"{site.control}/{Controls.tcprules_cdb.file}"
    return lambda ip: find_rule(path, ip, None, None) if os.path.exists(path) else None


def _networks(name: str, entries: list[bytes] | None, warn: Warn) -> NetworkSet:
    """Parse addresses and networks; invalid entries are logged."""
    networks = NetworkSet(entries)
    for entry in networks.ignored:
        warn(b"%b: %b is no address or network, ignored" % (name.encode(), entry))
    return networks


def _log_ignored(policies: dict[int, PolicyConfig], warn: Warn) -> None:
    """Log the ignored settings, once for all ports."""
    lists = next((config.dnsbl for config in policies.values()), None)
    for line in lists.ignored if lists else ():
        warn(b"block lists: %b is no ZONE [=ADDRESS,...] [text], ignored" % line)


def _read_tls(site: Site, controls: Controls, warn: Warn) -> ServerTlsContexts | None:
    """Load the TLS contexts; None without usable keys, with a log line where that is unexpected."""
    files = read_tls(site, controls, warn)
    if files is None:
        return None
    context = ServerTlsContexts(files, warn)
    try:
        context.check()
    except TlsUnavailable as trouble:
        warn(b"no TLS: " + str(trouble).encode())
        return None
    return context
