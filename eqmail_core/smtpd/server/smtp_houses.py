"""The settings of each port of the resident SMTP service, and of clients whose variables change them.

Control files are read once, for all of them: what holds for one client holds for the other, until they are read again.
"""

from collections.abc import Callable, Mapping

from eqmail_core.control.declared import Controls
from eqmail_core.control.readers import SMTPD
from eqmail_core.site.site import Site
from eqmail_core.smtpd.policy.config import PolicyConfig
from eqmail_core.smtpd.policy.patience import DELAY_VARIABLES
from eqmail_core.smtpd.server.config_reader import read_policy_config

POLICY_VARIABLES = (
    frozenset(
        [b"TLSREQUIRED", b"SUBMISSIONPORT", b"NOSPP", b"SPPCONFFILE"]
        + [control.env.encode() for control in Controls.declared().values() if control.env and SMTPD in control.used_by]
    )
    - DELAY_VARIABLES
)
"""The variables that `smtp_house.read_house` goes by; those of `Patience` are looked at for each client anyway."""

_MAX_KEPT = 256


class PolicyConfigCache:
    """Makes houses, and keeps them; the rest is as in `read_house`."""

    def __init__(
        self, site: Site, controls: Controls, is_more: Callable[[list[bytes]], bool], offers_tls: bool
    ) -> None:
        self._site = site
        self._controls = controls
        self._is_more = is_more
        self._offers_tls = offers_tls
        self._files: dict[str, bytes | None] = {}
        self._cached: dict[tuple[int, tuple[bytes, ...], frozenset[tuple[bytes, bytes]]], PolicyConfig] = {}

    def policy_for(self, port: int, environ: Mapping[bytes, bytes], checker: list[bytes]) -> PolicyConfig:
        """The house of a port for clients of this environment.  Fails: ControlError, OSError: as `read_house`."""
        variables = {name: environ[name] for name in POLICY_VARIABLES if name in environ}
        # Not in the key, because each client's own are looked at for it alone; see `HOUSE_VARIABLES`.
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
