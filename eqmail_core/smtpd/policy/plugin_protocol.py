"""The output of an SMTP plugin: lines, each an instruction of one letter and its text.

    Htext          add the header line `text`           Svar=value  Uvar   set or unset a variable
    Caddress       replace the current address          Ptext              send `text` to the client and go on
    LMtext LRtext LDtext    keep `text` as an error for MAIL, RCPT or DATA
    A  accept, and run no more plugins in this session  N  accept, and skip the other plugins of this command
    O  as N, and skip the server's own checks           Etext  send `text` and refuse the command
    Rtext  send `text` and close                        D  close

The last six are final: later output is ignored.  Lines without effect are dropped.

Source: smtp-server.md 4.8 (qmail-spp.c).
"""

FINAL = frozenset(b"ANOERD")
_OTHERS = frozenset(b"HCSUPL")

MAX_OUTPUT = 65536
"""Maximum number of bytes read from one plugin; the rest is ignored."""

TEMPORARY_EXIT = 120
"""Exit code of a plugin, or of the attempt to run it, for a failure to run."""


class PluginOutputReader:
    """Parses one plugin's output: call `receive` until `is_over`, with b"" at its end."""

    __slots__ = ("_instructions_seen", "_pending", "instructions", "is_over")

    def __init__(self) -> None:
        self.instructions: list[tuple[bytes, bytes]] = []
        self.is_over = False
        self._pending = b""
        self._instructions_seen = 0

    def receive(self, data: bytes) -> None:
        """Add more output."""
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
    """The result of a plugin: its instructions, and why it could not run (b"": it could)."""

    __slots__ = ("instructions", "problem")

    def __init__(self, instructions: list[tuple[bytes, bytes]], problem: bytes = b"") -> None:
        self.instructions = instructions
        self.problem = problem
