"""The settings of each port of the resident SMTP service, and of clients whose rule changes them.

Control files are read once, for all of them: what holds for one client holds for the other, until they are read again.
"""

from collections.abc import Callable, Mapping

from eqmail_core.control.declared import Controls
from eqmail_core.net.smtp_house import read_house
from eqmail_core.policy.house import House
from eqmail_core.values.site import Site

_MOST_KEPT = 256


class HouseBuilder:
    """Makes houses, and keeps them; `environ` is the environment of the service, the rest is as in `read_house`."""

    def __init__(
        self,
        site: Site,
        controls: Controls,
        environ: Mapping[bytes, bytes],
        is_more: Callable[[list[bytes]], bool],
        checker: list[bytes],
        offers_tls: bool,
    ) -> None:
        self._site = site
        self._controls = controls
        self._environ = environ
        self._checker = checker
        self._offers_tls = offers_tls
        self._is_more = is_more
        self._files: dict[str, bytes | None] = {}
        self._kept: dict[tuple[int, frozenset[tuple[bytes, bytes]]], House] = {}

    def house(self, port: int, variables: Mapping[bytes, bytes] | None = None) -> House:
        """The house of a port, where these variables are set too.  Fails: ControlError, OSError: as `read_house`."""
        changes = variables or {}
        key = port, frozenset(changes.items())
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = self._made(port, {**self._environ, **changes})
        return self._kept[key]

    def _made(self, port: int, environ: dict[bytes, bytes]) -> House:
        controls = Controls(self._content, environ)
        port_text, is_more = b"%d" % port, self._is_more
        return read_house(self._site, controls, environ, is_more, self._checker, port_text, self._offers_tls)

    def _content(self, name: str) -> bytes | None:
        if name not in self._files:
            self._files[name] = self._controls.read(name)
        return self._files[name]
