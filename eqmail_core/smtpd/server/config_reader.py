"""Read the settings of the SMTP server once, for `smtpd.policy` and `smtpd.protocol`.

Light: what only some sessions need is imported on demand.
Fails: ControlError for a control file that exists and cannot be read; OSError for another file of plugins.
Source: smtp-server.md 4.1; control-files.md 2.9.
"""

import os
import time

from eqmail_core.access.badmailfrom import BadSenders
from eqmail_core.access.rcpthosts import RcptHosts
from eqmail_core.control.controls import Controls
from eqmail_core.control.filter_settings import ENFORCE, OFF, PSL
from eqmail_core.control.kinds import AS_C
from eqmail_core.control.setting import SMTPD, ControlError
from eqmail_core.smtpd.policy.config import DELAY_VARIABLES, SUBMISSION_PORT, Delays, PolicyConfig, submission_ports
from eqmail_core.smtpd.policy.plugin_sections import parse_plugins
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.protocol.options import ServerOptions
from eqmail_core.smtpd.server.auth_methods import auth_offer
from eqmail_core.system.files import read_file
from eqmail_core.text.sanitize import plain
from eqmail_core.tls.server_files import server_tls_files
from eqmail_core.tls.session_info import ServerTlsFiles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eqmail_core.mail_auth.dmarc import PublicSuffix
    from eqmail_core.mail_auth.return_path import ReturnPaths
    from eqmail_core.site.site import Site
    from eqmail_core.smtpd.policy.dnsbl import DnsblConfig
    from eqmail_core.smtpd.policy.greylisting import Greylist
    from eqmail_core.smtpd.policy.message_authentication import AuthCheckConfig
    from eqmail_core.smtpd.policy.recipient_lookup import RecipientCheck


def read_policy_config(
    site: "Site",
    controls: Controls,
    environ: "Mapping[bytes, bytes]",
    is_more: "Callable[[list[bytes]], bool]",
    checker: list[bytes],
    local_port: bytes,
    offers_tls: bool = False,
) -> PolicyConfig:
    """Read everything that decides how mail is received on `local_port` (b"0": unknown).

    `is_more` looks up the compiled domains, see `RcptHosts`; `checker` is the argv of the checkpassword program, empty
    for none.
    """
    greeting = controls.smtpgreeting
    if greeting is None:
        raise ControlError(Controls.smtpgreeting.file, FileNotFoundError("neither it nor me exists"))
    # A reply begins with a host name, even without control files.
    greeting = greeting or controls.me or os.fsencode(os.uname().nodename)
    logins = auth_offer(site, controls, checker)
    rules = ServerOptions(
        greeting=greeting,
        size_limit=controls.databytes,
        max_recipients=controls.maxrcpt,
        auth_methods=logins.methods,
        auth_needs_tls=environ.get(b"TLSREQUIRED") == b"1",
        mail_needs_auth=logins.is_demanded or local_port in submission_ports(environ),
        local_ip_host=controls.localiphost,
        is_own_address=_own_address_test(),
        offers_tls=offers_tls,
        offers_chunks=controls.chunking,
        enhanced_status_codes=controls.enhancedstatus,
        max_errors=controls.smtpmaxerrors,
        max_commands=controls.smtpmaxcommands,
        offers_notify=controls.dsn,
        offers_utf8=controls.smtputf8,
        offers_requiretls=controls.requiretls,
        bare_newline=reply.BARE_NEWLINE_AS_C if controls.smtplogformat == AS_C else reply.BARE_NEWLINE,
    )
    plugins = None if b"NOSPP" in environ else _read_plugins(site, controls, environ)
    return PolicyConfig(
        rules,
        RcptHosts(controls.rcpthosts, is_more),
        BadSenders(controls.badmailfrom),
        plugins,
        controls.receivedesmtp,
        frozenset(line.lower() for line in controls.tlsclients or ()) if offers_tls else frozenset(),
        Delays(controls.greetdelay, controls.tarpitcount, controls.tarpitdelay),
        _recipient_check(controls),
        _dnsbl_config(controls),
        controls.smtplogformat != AS_C,
        _auth_check(site, controls),
        _return_paths(controls),
        controls.senderlogin,
        _greylist(site, controls),
    )


def _greylist(site: "Site", controls: Controls) -> "Greylist | None":
    if not controls.greylistdelay:
        return None
    # Imported here: few servers do it, and every process would pay for it.
    from eqmail_core.smtpd.policy.greylisting import Greylist

    return Greylist(site.greylist, controls.greylistdelay, controls.me or b"", time.time)


def _return_paths(controls: Controls) -> "ReturnPaths | None":
    if not (controls.srssecrets or controls.batvsecrets):
        return None
    from eqmail_core.queue.return_paths import read_return_paths

    return read_return_paths(controls)


def _auth_check(site: "Site", controls: Controls) -> "AuthCheckConfig | None":
    """Read how messages are authenticated; None where they are not, so that its code is not imported."""
    if controls.authcheck in (None, OFF):
        return None
    from eqmail_core.smtpd.policy.message_authentication import AuthCheckConfig

    public_suffix: PublicSuffix | None = None
    if controls.dmarcwalk == PSL:
        from eqmail_core.dns.public_suffix import organization

        public_suffix = organization
    sealers = frozenset(domain.lower() for domain in controls.arctrust or ())
    is_enforced = controls.authcheck == ENFORCE
    record = None
    if controls.dmarcreports is not None:
        from eqmail_core.reports import DMARC_DATABASE
        from eqmail_core.reports.dmarc_recorder import DmarcRecorder

        discovery = "treewalk" if public_suffix is None else "psl"
        record = DmarcRecorder(f"{site.home}/{DMARC_DATABASE}", is_enforced, discovery, time.time).record
    return AuthCheckConfig(is_enforced, time.time, sealers, public_suffix, record, _log_check)


def _log_check(line: bytes) -> None:
    from eqmail_core.system.repeated_lines import say_seldom

    say_seldom("qmail-smtpd", f"notice: {plain(line).decode('latin-1')}")


def _dnsbl_config(controls: Controls) -> "DnsblConfig | None":
    if not controls.dnsbl:
        return None
    from eqmail_core.smtpd.policy.dnsbl import DnsblConfig

    return DnsblConfig(controls.dnsbl, controls.dnswl or (), controls.dnsblat)


def _recipient_check(controls: Controls) -> "RecipientCheck | None":
    """Read which recipients are looked up; None for none, so that no check is made.

    The routing tables of the delivering side are read now, so that errors appear before the first client.
    """
    if not controls.rcptcheck:
        return None
    from eqmail_core.queue.routing import Routes
    from eqmail_core.smtpd.policy.recipient_lookup import RecipientCheck

    routes = Routes(
        controls.envnoathost, controls.locals or (), controls.percenthack or (), controls.virtualdomains or {}
    )
    return RecipientCheck(controls.rcptcheck, routes)


def read_tls(site: "Site", controls: Controls, write_log: "Callable[[bytes], None]") -> ServerTlsFiles | None:
    """Return the server's key files; None if there are none, or none readable, which is logged."""
    certificate = f"{site.control}/{Controls.servercert.file}"
    if not os.access(certificate, os.R_OK, effective_ids=True):
        if os.path.exists(certificate):
            write_log(b"no TLS: unable to read " + os.fsencode(certificate))
        return None
    return server_tls_files(site, controls)


def _own_address_test() -> "Callable[[bytes], bool]":
    known: list[frozenset[str]] = []

    def is_own(address: bytes) -> bool:
        if not known:
            from eqmail_core.system.own_addresses import own_addresses

            known.append(own_addresses())
        return address.decode("ascii") in known[0]

    return is_own


def _read_plugins(
    site: "Site", controls: Controls, environ: "Mapping[bytes, bytes]"
) -> dict[bytes, list[bytes]] | None:
    """Read the plugins by section; None if there are none, so that no later check is needed."""
    other = environ.get(b"SPPCONFFILE")
    text = read_file(os.path.join(os.fsencode(site.home), other)) if other else controls.smtpplugins
    plugins = parse_plugins(text)
    return plugins if any(plugins.values()) else None


POLICY_VARIABLES = (
    frozenset(
        [b"TLSREQUIRED", SUBMISSION_PORT, b"NOSPP", b"SPPCONFFILE"]
        + [control.env.encode() for control in Controls.declared().values() if control.env and SMTPD in control.used_by]
    )
    - DELAY_VARIABLES
)
"""The variables `read_policy_config` depends on.

Those of `Delays` are read per client anyway.
"""

_MAX_KEPT = 256


class PolicyConfigCache:
    """Creates and caches policy configurations; parameters as in `read_policy_config`."""

    def __init__(
        self, site: "Site", controls: Controls, is_more: "Callable[[list[bytes]], bool]", offers_tls: bool
    ) -> None:
        self._site = site
        self._controls = controls
        self._is_more = is_more
        self._offers_tls = offers_tls
        self._files: dict[str, bytes | None] = {}
        self._cached: dict[tuple[int, tuple[bytes, ...], frozenset[tuple[bytes, bytes]]], PolicyConfig] = {}

    def policy_for(self, port: int, environ: "Mapping[bytes, bytes]", checker: list[bytes]) -> PolicyConfig:
        """Return the configuration of a port for this environment.

        Fails: ControlError, OSError: as `read_policy_config`.
        """
        variables = {name: environ[name] for name in POLICY_VARIABLES if name in environ}
        # Other variables are not in the key, because they are read per client; see `POLICY_VARIABLES`.
        key = port, tuple(checker), frozenset(variables.items())
        if key not in self._cached:
            if len(self._cached) >= _MAX_KEPT:
                self._cached.clear()
            controls = Controls(self._content, variables)
            is_more, tls = self._is_more, self._offers_tls
            self._cached[key] = read_policy_config(self._site, controls, variables, is_more, checker, b"%d" % port, tls)
        return self._cached[key]

    def _content(self, name: str) -> bytes | None:
        if name not in self._files:
            self._files[name] = self._controls.read(name)
        return self._files[name]
