"""The kind of the control file that says which senders a login may use.

A line is LOGIN WORDS, separated by blanks; LOGIN * stands for all that have no line. Words: an address, @HOST for every
address at a host, `self` for the login itself as an address, `any`.
"""

from eqmail_core.control.setting import Control
from eqmail_core.mail.domain_name import table_key
from eqmail_core.text.lines import non_empty_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from eqmail_core.control.setting import ControlSet

ALL = b"*"
SELF, ANY = b"self", b"any"


class SenderLogins:
    """Which senders each login may use; lines are split when the first login is looked up, and parsed when it is."""

    __slots__ = ("_lines", "_text")

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._lines: dict[bytes, bytes] | None = None

    def may_use(self, login: bytes, sender: bytes) -> bool:
        """Return whether a login may use an address; the null sender is everybody's, and so is all without a line."""
        if not sender:
            return True
        lines = self._split()
        words = lines.get(table_key(login))
        if words is None:
            words = lines.get(ALL)
        if words is None:
            return True
        key = table_key(sender)
        allowed = table_key(words).split()
        if ANY in allowed or (SELF in allowed and key == table_key(login)):
            return True
        return b"@" in key and (key in allowed or key[key.rindex(b"@") :] in allowed)

    def words_of(self, login: bytes) -> bytes | None:
        """Return the words that count for a login, None where none do."""
        lines = self._split()
        return lines.get(table_key(login), lines.get(ALL))

    @property
    def logins(self) -> "list[bytes]":
        """The logins that have a line, in lower case."""
        return [login for login in self._split() if login != ALL]

    def _split(self) -> dict[bytes, bytes]:
        if self._lines is None:
            self._lines = {}
            for line in non_empty_lines(self._text):
                login, _, words = line.partition(b" ")
                login = table_key(login)
                # Lines of one login add up.
                self._lines[login] = self._lines[login] + b" " + words if login in self._lines else words
        return self._lines


def wrong_words(words: bytes) -> list[bytes]:
    """Return the words of a line that name no sender."""
    return [
        word
        for word in words.split()
        if word.lower() not in (SELF, ANY) and (b"@" not in word or b"*" in word or word.endswith(b"@"))
    ]


class SenderLoginLines(Control["SenderLogins | None"]):
    """Lines LOGIN SENDER...; None where the file is absent."""

    kind = "list of senders"

    def read(self, source: "ControlSet") -> "SenderLogins | None":
        """Take the text, without a look at it: programs that start for one client read it too."""
        text = source.content(self.file)
        return None if text is None else SenderLogins(text.replace(b"\t", b" "))

    def parse(self, text: bytes) -> "tuple[SenderLogins | None, list[str]]":
        """Take the text; remark on lines that allow nothing, and on words that name no sender."""
        remarks = []
        for line in non_empty_lines(text.replace(b"\t", b" ")):
            words = line.partition(b" ")[2]
            shown = line.decode("latin-1")
            if not words.strip():
                remarks.append(f"the line {shown!r} has no sender: LOGIN ADDRESS, @HOST, self or any")
            wrong = [word.decode("latin-1") for word in wrong_words(words)]
            remarks += [f"{word!r} is no sender: an address, @HOST, self or any" for word in wrong]
        return SenderLogins(text.replace(b"\t", b" ")), remarks
