"""The settings of remote deliveries, read again when a file behind them changes.

qmail-remote reads its control files for every message, so a change of smtproutes takes effect at once.  The resident
service checks the files' dates, at most once a second, and rereads at once on HUP.

Source: delivery.md 5.6; queue.md 3.11 (which program the spawner runs).
"""

import os
import time

from eqmail_core.control.controls import Controls
from eqmail_core.control.setting import REMOTE, ControlError
from eqmail_core.dns.validation import trust_of
from eqmail_core.outcome import TemporaryFailure
from eqmail_core.queue.return_paths import read_return_paths
from eqmail_core.remote.before import is_idle
from eqmail_core.remote.plan import NO_CONTROLS, names_of_this_host
from eqmail_core.remote.signing import OriginRules
from eqmail_core.remote.tls_policy import client_contexts
from eqmail_core.site.site import Site
from eqmail_core.system.files import file_fingerprint
from eqmail_core.system.installation import read_controls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from eqmail_core.smtp.client_tls import ClientTlsContexts

CHECK_EVERY_S = 1.0
SUBSTITUTE_VARIABLE = b"QMAILREMOTE"


class RemoteSettings:
    """One reading of all settings; `rules` is the path of the rules for SMTP clients.

    `substitute` is a program run per message in place of this code.
    """

    __slots__ = (
        "addresses_s",
        "connect_s",
        "dnssec",
        "hello",
        "limits",
        "origin",
        "own_names",
        "return_paths",
        "reuse_s",
        "routes",
        "search_s",
        "sources",
        "substitute",
        "timeout_s",
        "tls",
        "tls_falls_back",
    )

    def __init__(self, controls: Controls, substitute: bytes | None, tls: "ClientTlsContexts", rules: str) -> None:
        hello = controls.helohost
        if hello is None:
            raise TemporaryFailure(NO_CONTROLS)
        self.hello = hello
        self.own_names = names_of_this_host(controls.me, hello)
        self.origin = OriginRules(controls, self.own_names, rules)
        self.return_paths = read_return_paths(controls)
        self.routes = controls.smtproutes
        self.connect_s = controls.timeoutconnect
        self.timeout_s = controls.timeoutremote
        self.search_s = controls.timeoutdns
        self.addresses_s = controls.timeoutaddresses
        self.reuse_s = controls.remotereuse
        self.substitute = substitute
        self.tls = tls
        self.tls_falls_back = controls.tlsfallback
        self.limits = controls.remotelimits
        self.sources = controls.outgoingip or ()
        self.dnssec = trust_of(controls.dnssec)


class SettingsSource:
    """The current settings of a site."""

    def __init__(self, site: Site, environ: "Mapping[bytes, bytes]") -> None:
        self._site = site
        self._environ = environ
        self._bfrmt = f"{site.bin}/qmail-bfrmt"
        read = [control for control in Controls.declared().values() if REMOTE in control.used_by]
        self._files = [f"{site.control}/{control.file}" for control in (Controls.me, *read)] + [self._bfrmt]
        self._fingerprints: list[tuple[int, int, int] | None] = []
        self._looked = 0.0
        self._settings: RemoteSettings | TemporaryFailure = TemporaryFailure(NO_CONTROLS)

    def current(self) -> RemoteSettings:
        """Return the current settings.  Fails: TemporaryFailure if they cannot be read."""
        now = time.monotonic()
        if now - self._looked >= CHECK_EVERY_S or not self._fingerprints:
            self._looked = now
            stamps = [file_fingerprint(path) for path in self._files]
            if stamps != self._fingerprints:
                self._fingerprints = stamps
                self._settings = self._read()
        if isinstance(self._settings, TemporaryFailure):
            raise self._settings
        return self._settings

    def check(self) -> None:
        """Read everything a delivery reads.  Fails: ControlError for a file that cannot be read."""
        try:
            self._settings_now()
        except TemporaryFailure:
            pass  # A host without a name: each delivery reports it.

    def reread(self) -> None:
        """Reread all files at the next use, changed or not."""
        self._fingerprints = []

    def _settings_now(self) -> RemoteSettings:
        controls = read_controls(self._site, self._environ)
        rules = f"{self._site.control}/{Controls.tcprules_cdb.file}"
        return RemoteSettings(controls, self._substitute(controls), client_contexts(self._site, controls), rules)

    def _read(self) -> "RemoteSettings | TemporaryFailure":
        try:
            return self._settings_now()
        except ControlError:
            return TemporaryFailure(NO_CONTROLS)
        except TemporaryFailure as reason:
            return reason

    def _substitute(self, controls: Controls) -> bytes | None:
        named = self._environ.get(SUBSTITUTE_VARIABLE)
        if named:
            return named
        if not os.access(self._bfrmt, os.X_OK):
            return None
        remote = os.fsencode(f"{self._site.bin}/qmail-remote")
        is_script = self._site.layout.control == "control"
        return None if is_idle(controls.beforemote, is_script, remote) else os.fsencode(self._bfrmt)
