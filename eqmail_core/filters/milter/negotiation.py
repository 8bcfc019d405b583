"""What a milter and we have agreed on: which steps it is told of, which it answers, what it may change, which macros.

Source: libmilter of Sendmail 8.17 (xxfi_negotiate, smfi_setsymlist).
"""

from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.packets import MilterProtocolError

# Names of macros by stage, as Sendmail sends them to a milter that does not ask for others.
_MACROS: "dict[bytes, tuple[bytes, ...]]" = {
    wire.CONNECT: (b"j", b"_", b"{daemon_name}", b"{if_name}", b"{if_addr}", b"{client_addr}", b"{client_name}", b"v"),
    wire.HELO: (b"{tls_version}", b"{cipher}", b"{cipher_bits}", b"{cert_subject}", b"{cert_issuer}", b"{verify}"),
    wire.MAIL: (b"i", b"{auth_type}", b"{auth_authen}", b"{auth_author}", b"{mail_addr}", b"{mail_host}"),
    wire.RECIPIENT: (b"{rcpt_addr}", b"{rcpt_host}"),
    wire.DATA: (b"i",),
    wire.END_OF_HEADER: (b"i",),
    wire.END_OF_BODY: (b"i",),
}

ALL_ACTIONS = wire.SETS_MACROS
for _bit in wire.ACTIONS.values():
    ALL_ACTIONS |= _bit

# DATA was not a step of its own before.
_FIRST_WITH_DATA = 4


class Agreement:
    """What holds between us and one milter; `actions` is what we offer until `conclude` has read its answer."""

    __slots__ = ("_macros", "actions", "steps", "version")

    def __init__(self, actions: int = ALL_ACTIONS) -> None:
        self._macros = dict(_MACROS)
        self.actions = actions
        self.steps = 0
        self.version = 0

    def offer(self) -> bytes:
        """What we can do, as a payload."""
        return wire.number(wire.VERSION) + wire.number(self.actions) + wire.number(wire.STEPS)

    def conclude(self, payload: bytes) -> None:
        """Read what the milter wants of it.

        Fails: WireError for a version that we do not speak, and for what we did not offer.
        """
        if len(payload) < 12:
            raise MilterProtocolError("no answer to what we offer")
        version, actions, steps = (int.from_bytes(payload[start : start + 4], "big") for start in (0, 4, 8))
        if not wire.OLDEST <= version <= wire.VERSION:
            raise MilterProtocolError(f"version {version} of the protocol")
        if version == wire.OLDEST:
            steps &= wire.STEPS_OF_VERSION_2
        if actions & ~self.actions:
            raise MilterProtocolError(f"it wants to change what we cannot change (0x{actions & ~self.actions:x})")
        if steps & ~wire.STEPS:
            raise MilterProtocolError(f"it wants steps that we do not know (0x{steps & ~wire.STEPS:x})")
        self.version, self.actions, self.steps = version, actions, steps
        self._read_macro_names(payload[12:])

    def is_told(self, command: bytes) -> bool:
        """Tell whether the milter wants to hear of a step."""
        if command == wire.DATA and self.version < _FIRST_WITH_DATA:
            return False
        return not wire.UNASKED.get(command, 0) & self.steps

    def is_silent(self, command: bytes) -> bool:
        """Tell whether the milter says nothing to a packet."""
        return command == wire.MACROS or bool(wire.SILENT.get(command, 0) & self.steps)

    def may(self, letter: bytes) -> bool:
        """Tell whether the milter may make a change."""
        return bool(wire.ACTIONS[letter] & self.actions)

    @property
    def keeps_leading_space(self) -> bool:
        """Whether the value of a header is everything behind the colon, and not without its first blank."""
        return bool(self.steps & wire.LEADING_SPACE)

    def header(self, field: bytes) -> bytes:
        """The payload for a header field with its LF."""
        name, _, value = field.removesuffix(b"\n").partition(b":")
        return wire.texts(name.rstrip(b" \t"), value if self.keeps_leading_space else value.removeprefix(b" "))

    def macros(self, stage: bytes, known: dict[bytes, bytes]) -> bytes:
        """The payload with the macros of a stage that have a value."""
        words = [word for name in self._macros[stage] if (value := known.get(name)) for word in (name, value)]
        return stage + wire.texts(*words)

    def _read_macro_names(self, lists: bytes) -> None:
        while len(lists) > 4:
            stage = int.from_bytes(lists[:4], "big")
            names, _, lists = lists[4:].partition(b"\0")
            if stage < len(wire.STAGES):
                self._macros[wire.STAGES[stage]] = tuple(names.replace(b",", b" ").split())
