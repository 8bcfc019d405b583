"""The negotiated options of a milter: commands, replies, modifications and macros.

Source: libmilter of Sendmail 8.17 (xxfi_negotiate, smfi_setsymlist).
"""

from eqmail_core.filters.milter import packets as wire
from eqmail_core.filters.milter.packets import MilterProtocolError

# Names of macros by stage, as Sendmail sends them to a milter that requests no others.
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

# Before this version, DATA was no command of its own.
_FIRST_WITH_DATA = 4


class Agreement:
    """The options agreed with one milter; before `conclude`, `actions` is the offer."""

    __slots__ = ("_macros", "actions", "steps", "version")

    def __init__(self, actions: int = ALL_ACTIONS) -> None:
        self._macros = dict(_MACROS)
        self.actions = actions
        self.steps = 0
        self.version = 0

    def offer(self) -> bytes:
        """Build the payload of the offer."""
        return wire.number(wire.VERSION) + wire.number(self.actions) + wire.number(wire.STEPS)

    def conclude(self, payload: bytes) -> None:
        """Parse the milter's choice.

        Fails: MilterProtocolError for an unsupported version, and for options that were not offered.
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

    def wants(self, command: bytes) -> bool:
        """Whether the milter wants a command."""
        if command == wire.DATA and self.version < _FIRST_WITH_DATA:
            return False
        return not wire.UNASKED.get(command, 0) & self.steps

    def is_silent(self, command: bytes) -> bool:
        """Whether the milter does not reply to a command."""
        return command == wire.MACROS or bool(wire.SILENT.get(command, 0) & self.steps)

    def may(self, letter: bytes) -> bool:
        """Whether the milter may make a modification."""
        return bool(wire.ACTIONS[letter] & self.actions)

    @property
    def keeps_leading_space(self) -> bool:
        """Whether header values keep the space after the colon."""
        return bool(self.steps & wire.LEADING_SPACE)

    def header(self, field: bytes) -> bytes:
        """Build the payload of a header field with its LF."""
        name, _, value = field.removesuffix(b"\n").partition(b":")
        return wire.texts(name.rstrip(b" \t"), value if self.keeps_leading_space else value.removeprefix(b" "))

    def macros(self, stage: bytes, known: dict[bytes, bytes]) -> bytes:
        """Build the payload with the macros of a stage that have a value."""
        words = [word for name in self._macros[stage] if (value := known.get(name)) for word in (name, value)]
        return stage + wire.texts(*words)

    def _read_macro_names(self, lists: bytes) -> None:
        while len(lists) > 4:
            stage = int.from_bytes(lists[:4], "big")
            names, _, lists = lists[4:].partition(b"\0")
            if stage < len(wire.STAGES):
                self._macros[wire.STAGES[stage]] = tuple(names.replace(b",", b" ").split())
