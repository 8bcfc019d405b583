"""What an SMTP plugin says: lines, each an instruction of one letter and its text.

    Htext          add the header line `text`           Svar=value  Uvar   set or unset a variable
    Caddress       replace the address in hand          Ptext              say `text` to the client and go on
    LMtext LRtext LDtext    keep `text` as an error for MAIL, RCPT or DATA
    A  accept, and run no more plugins in this session  N  accept, and skip the other plugins of this command
    O  as N, and skip the server's own checks           Etext  say `text` and refuse the command
    Rtext  say `text` and close                         D  close

The last six are final: nothing is read after them.  Lines without effect are left out.

Source: smtp-server.md 4.8 (qmail-spp.c).
"""

FINAL = frozenset(b"ANOERD")
_OTHERS = frozenset(b"HCSUPL")

MAX_OUTPUT = 65536
"""Most that is read of one plugin, in bytes; the rest does not matter."""

TEMPORARY_EXIT = 120
"""Exit code by which a plugin, or the attempt to run it, reports that it could not be run."""


class PluginOutputReader:
    """Listens to one plugin: `receive` its output in any fragmentation, b"" at its end, until `is_over`."""

    __slots__ = ("_instructions_seen", "_pending", "instructions", "is_over")

    def __init__(self) -> None:
        self.instructions: list[tuple[bytes, bytes]] = []
        self.is_over = False
        self._pending = b""
        self._instructions_seen = 0

    def receive(self, data: bytes) -> None:
        """Take more output."""
        if self.is_over:
            return
        self._instructions_seen += len(data)
        *lines, self._pending = (self._pending + data).split(b"\n")
        if not data or self._instructions_seen > MAX_OUTPUT:
            lines.append(self._pending)
            self.is_over = True
        for line in lines:
            # C reads strings, and no variable or argument can hold a NUL.
            line = line.partition(b"\0")[0]
            letter = line[0] if line else 0
            if letter in FINAL or letter in _OTHERS:
                self.instructions.append((line[:1], line[1:]))
            if letter in FINAL:
                self.is_over = True
                break


class PluginResult:
    """How a plugin did: its instructions, and why it could not be run (b"" when it could)."""

    __slots__ = ("instructions", "problem")

    def __init__(self, instructions: list[tuple[bytes, bytes]], problem: bytes = b"") -> None:
        self.instructions = instructions
        self.problem = problem
