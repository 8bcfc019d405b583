"""The command line of qmail-tcpsrv.

Source: smtp-server.md 4.9; tcpserver(1).
"""

from eqmail_core.text.lines import MAX_COUNT, MAX_WAIT_S, number_of_option
from eqmail_core.text.options import parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

USAGE = (
    b"usage: qmail-tcpsrv [ -41UXpPhHrRoOdDqQv ] [ -c limit ] [ -x rules.cdb ] [ -B banner ] [ -g gid ] [ -u uid ] "
    b"[ -b backlog ] [ -l localname ] [ -t timeout ] [ -I interface ] host port program"
)

_LETTERS = b"41UXpPhHrRoOdDqQvc:x:B:g:u:b:l:t:I:"

# The attribute and the value that a letter without an argument sets.
_CHOICES: dict[bytes, tuple[str, bool | int]] = {
    b"4": ("ipv4_only", True),
    b"1": ("tells_port", True),
    b"X": ("rules_may_miss", True),
    b"p": ("is_paranoid", True),
    b"P": ("is_paranoid", False),
    b"h": ("asks_name", True),
    b"H": ("asks_name", False),
    b"r": ("asks_user", True),
    b"R": ("asks_user", False),
    b"o": ("keeps_ip_options", True),
    b"O": ("keeps_ip_options", False),
    b"d": ("is_prompt", False),
    b"D": ("is_prompt", True),
    b"q": ("verbosity", 0),
    b"Q": ("verbosity", 1),
    b"v": ("verbosity", 2),
}
_NUMBERS = {b"c": "limit", b"g": "gid", b"u": "uid", b"b": "backlog", b"t": "ident_timeout_s"}
_TEXTS = {b"x": "rules", b"B": "banner", b"l": "local_name", b"I": "interface"}


class BadUsage(Exception):
    """The command line is invalid; the program prints USAGE."""


class TcpsrvOptions:
    """All options, and the words after them: `host`, `port` and `program`, an argv.

    `verbosity`: 0 logs nothing, 1 errors, 2 every connection. `rules` b"": all clients are served.
    `local_name` None: look it up. `uid`, `gid` 0: unchanged.
    """

    def __init__(self) -> None:
        self.ipv4_only = False
        self.tells_port = False
        self.rules_may_miss = False
        self.is_paranoid = False
        self.asks_name = True
        self.asks_user = False
        self.keeps_ip_options = False
        self.is_prompt = False
        self.verbosity = 1
        self.limit = 40
        self.rules = b""
        self.banner = b""
        self.gid = 0
        self.uid = 0
        self.backlog = 20
        self.local_name: bytes | None = None
        self.ident_timeout_s = 26
        self.interface = b""
        self.host = b""
        self.port = b""
        self.program: list[bytes] = []


def parse_command_line(argv: list[bytes], environ: "Mapping[bytes, bytes]") -> TcpsrvOptions:
    """Parse a command line; -U takes uid and gid from the environment.

    An invalid number counts as 0. A limit of 0 would serve no client, and is bad usage too.
    Fails: BadUsage, BadOption.
    """
    chosen = TcpsrvOptions()
    options, words = parse_options(argv, _LETTERS)
    for letter, argument in options:
        if letter == b"U":
            chosen.uid = number_of_option(environ.get(b"UID", b""))
            chosen.gid = number_of_option(environ.get(b"GID", b""))
        elif letter in _CHOICES:
            setattr(chosen, *_CHOICES[letter])
        elif letter in _NUMBERS:
            setattr(chosen, _NUMBERS[letter], number_of_option(argument, MAX_WAIT_S if letter == b"t" else MAX_COUNT))
        else:
            setattr(chosen, _TEXTS[letter], argument)
    if len(words) < 3 or chosen.limit < 1:
        raise BadUsage
    chosen.host, chosen.port, chosen.program = words[0], words[1], words[2:]
    return chosen
