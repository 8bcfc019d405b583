"""Settings of the SMTP sessions of a resident service, and those of one client.

Source: smtp-server.md 4.1, 4.9; control-files.md 2.9.
"""

import os
from collections.abc import Callable, Sequence
from shutil import which

from eqmail_core.access.networks import NetworkSet
from eqmail_core.auth.scram import ScramKeys
from eqmail_core.control.setting import ControlError
from eqmail_core.filters.chain import FilterConfig
from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.policy.config import SUBMISSION_PORT, PolicyConfig
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.server.config_reader import POLICY_VARIABLES
from eqmail_core.tcpserver.rules import Rule
from eqmail_core.tls.server import ServerTlsContexts

_NOBODY = NetworkSet(())
_CIPHERS = b"TLSCIPHERS"

NOWHERE = ("unknown", 0)
"""The address of an end of a connection that is no longer known."""


class AddressLimits:
    """Limits for clients.

    Per address: `sessions` at a time, and `login_failures`, wrong passwords within the window; 0: no limit.
    `idle_s`: maximum time of a client without a transaction; 0: no limit.
    Per process: `checkers` of passwords, `plugins` and `queue_programs` (QMAILQUEUE) at a time.
    """

    __slots__ = ("checkers", "idle_s", "login_failures", "plugins", "queue_programs", "sessions")

    def __init__(
        self,
        sessions: int = 0,
        login_failures: int = 0,
        idle_s: int = 0,
        checkers: int = 2,
        plugins: int = 32,
        queue_programs: int = 32,
    ) -> None:
        self.sessions = sessions
        self.login_failures = login_failures
        self.idle_s = idle_s
        self.checkers = checkers
        self.plugins = plugins
        self.queue_programs = queue_programs


class ServerConfig:
    """Settings of new sessions; replaced as a whole when settings change.

    `policies`: by local port.  `environ`: environment of children.  `limit`: sessions at a time.
    `tls`: TLS contexts, where there are keys.  `limits`: limits per address and process.
    `rule_for(ip)` returns the rule for a client, None for none, and may raise OSError.
    `proxies`: networks whose connections begin with a PROXY header.  `filters`: of every client and message, or None.
    `policy_for(port, environ, checker)` returns the policy configuration of a port for clients whose variables change
    it; it may raise ControlError and OSError.
    `find_scram_keys(login)` returns the keys of a login; it may raise OSError.
    `name_servers`: DNS servers and their port; none: those of /etc/resolv.conf.
    """

    __slots__ = (
        "checker",
        "environ",
        "filters",
        "find_scram_keys",
        "limit",
        "limits",
        "local_name",
        "name_servers",
        "policies",
        "policy_for",
        "proxies",
        "relay_clients",
        "rule_for",
        "timeout_s",
        "tls",
    )

    def __init__(
        self,
        policies: dict[int, PolicyConfig],
        local_name: bytes,
        environ: dict[bytes, bytes],
        relay_clients: NetworkSet,
        checker: list[bytes],
        limit: int,
        timeout_s: int,
        tls: ServerTlsContexts | None = None,
        limits: "AddressLimits | None" = None,
        rule_for: Callable[[bytes], Rule | None] = lambda ip: None,
        proxies: NetworkSet = _NOBODY,
        name_servers: tuple[Sequence[str], int] = ((), 53),
        filters: FilterConfig | None = None,
        policy_for: Callable[[int, dict[bytes, bytes], list[bytes]], PolicyConfig] | None = None,
        find_scram_keys: "Callable[[bytes], ScramKeys | None]" = lambda login: None,
    ) -> None:
        self.find_scram_keys = find_scram_keys
        self.policies = policies
        self.local_name = local_name
        self.environ = environ
        self.relay_clients = relay_clients
        self.checker = checker
        self.limit = limit
        self.timeout_s = timeout_s
        self.tls = tls
        self.limits = limits or AddressLimits()
        self.rule_for = rule_for
        self.proxies = proxies
        self.name_servers = name_servers
        self.filters = filters
        self.policy_for = policy_for


class SessionConfig:
    """Settings of the session with one client.

    `policy`: its policy configuration; `client`: who it is and what it may do; `tls`: TLS contexts, where there are
    keys; `checker`: argv of the checkpassword program.
    `begins_with_tls`: the variables of a client that was handed over say so.
    `refusal`: the reply to a client that is not served; None: disconnect without a reply.
    """

    __slots__ = ("begins_with_tls", "checker", "client", "policy", "refusal", "tls")

    def __init__(
        self,
        config: PolicyConfig,
        environ: dict[bytes, bytes],
        tls: ServerTlsContexts | None,
        checker: list[bytes],
        refusal: bytes | None = b"",
        begins_with_tls: bool = False,
    ) -> None:
        self.policy = config
        self.client = ClientAuthority(environ, config.delays)
        self.tls = tls
        self.checker = checker
        self.refusal = refusal
        self.begins_with_tls = begins_with_tls


def session_config(
    settings: ServerConfig, peer: tuple[str, int], local: tuple[str, int], needs_login: bool = False
) -> SessionConfig:
    """Return the settings for a direct client; both ends are address and port.

    With `needs_login` MAIL needs a login, whatever SUBMISSIONPORT says.
    """
    config = settings.policies.get(local[1]) or next(iter(settings.policies.values()))
    environ = _client_environ(settings, peer, local)
    refusal, has_rule = _apply_rule(settings, environ)
    if needs_login:
        environ[SUBMISSION_PORT] = environ[b"TCPLOCALPORT"]
    if (has_rule or needs_login) and settings.policy_for is not None and _changes_policy(settings, environ):
        try:
            config = settings.policy_for(local[1], environ, settings.checker)
        except (ControlError, OSError):
            refusal = refusal if refusal is None else reply.NO_CONTROLS
    return SessionConfig(config, environ, settings.tls, settings.checker, refusal)


def handed_over_session_config(
    settings: ServerConfig, checker: list[bytes], environ: dict[bytes, bytes]
) -> SessionConfig | None:
    """Return the settings for a client handed over, as its program would have used them.

    None where the program has to serve the client itself.
    """
    if settings.policy_for is None or environ.get(_CIPHERS) != settings.environ.get(_CIPHERS):
        return None
    port = environ.get(b"TCPLOCALPORT", b"")
    try:
        config = settings.policy_for(int(port) if port.isdigit() else 0, environ, checker)
    except (ControlError, OSError):
        return None
    if checker and b"/" not in checker[0]:
        # The program would search its own PATH; the service would search another one.
        found = which(os.fsdecode(checker[0]), path=os.fsdecode(environ.get(b"PATH", os.defpath.encode())))
        checker = [os.fsencode(found) if found else checker[0], *checker[1:]]
    return SessionConfig(config, environ, settings.tls, checker, begins_with_tls=b"SMTPS" in environ)


def _client_environ(settings: ServerConfig, peer: tuple[str, int], local: tuple[str, int]) -> dict[bytes, bytes]:
    """Build the environment of one session: the service's, and the addresses of both ends."""
    remote_ip = peer[0].encode()
    environ = {
        **settings.environ,
        b"PROTO": b"TCP",
        b"TCPREMOTEIP": remote_ip,
        b"TCPREMOTEPORT": b"%d" % peer[1],
        b"TCPLOCALIP": local[0].encode(),
        b"TCPLOCALPORT": b"%d" % local[1],
        b"TCPLOCALHOST": settings.local_name,
    }
    if settings.relay_clients.includes(remote_ip):
        environ[b"RELAYCLIENT"] = b""
    return environ


def _changes_policy(settings: ServerConfig, environ: dict[bytes, bytes]) -> bool:
    return any(environ.get(name) != settings.environ.get(name) for name in POLICY_VARIABLES)


def _apply_rule(settings: ServerConfig, environ: dict[bytes, bytes]) -> tuple[bytes | None, bool]:
    """Apply the variables of a client's rule; return the refusal, and whether there were any.

    The refusal is as in `SessionConfig.refusal`, b"": accepted.
    """
    try:
        rule = settings.rule_for(environ[b"TCPREMOTEIP"])
    except OSError:
        return reply.NO_CONTROLS, False
    if rule is None:
        return b"", False
    if rule.denies:
        return None, False
    environ.update(rule.variables)
    return b"", bool(rule.variables)
