"""Address header fields as tokens: split, rewritten address by address, joined and folded.

A token is a pair (kind, text). The kind of a special character is the character itself.
Words have the kinds ATOM, QUOTE, LITERAL and COMMENT; their text holds no quoting.

Source: delivery.md 5.7 "tokens" (token822.c); RFC 5322 sections 3.2 to 3.4 with the obsolete forms of RFC 822.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Token = tuple[bytes, bytes]
    Rewrite = Callable[[list[Token]], list[Token]]

ATOM, QUOTE, LITERAL, COMMENT = b"word", b'"', b"[", b"("
DOT, COMMA, AT, LEFT, RIGHT, COLON, SEMICOLON = b".", b",", b"@", b"<", b">", b":", b";"

LINE_WIDTH = 80

_BLANKS = frozenset(b" \t\r\n")
_SPECIALS = {kind[0]: (kind, kind) for kind in (DOT, COMMA, AT, LEFT, RIGHT, COLON, SEMICOLON)}
_CLOSERS = {QUOTE[0]: b'"', LITERAL[0]: b"]", COMMENT[0]: b")"}
_STRAY = frozenset(b")]")
_ATOM_ENDS = _BLANKS | frozenset(b'([".,@<>:;')
# A word that holds one of these is written as a quoted string.
_NEEDS_QUOTES = frozenset(b")]\\") | frozenset(range(32)) | frozenset(range(127, 256))
_ESCAPED = frozenset(b'"[]()\\\r\n')
_BACKSLASH = 92

_WORDS = (ATOM, QUOTE, LITERAL, COMMENT)
_PHRASE = (ATOM, QUOTE, COMMENT, AT, DOT)
_BRACKETS = {ATOM: (b"", b""), QUOTE: (b'"', b'"'), LITERAL: (b"[", b"]"), COMMENT: (b"(", b")")}

# The tokens before this index are the field name and its colon; they are not part of the list.
_FIRST = 2


class Unparsable(ValueError):
    """Text that is not a valid list of tokens or of addresses."""


def tokenise(text: bytes) -> "list[Token]":
    """Split a field or an address into tokens.

    Parentheses inside comments are dropped.
    Fails: Unparsable for a stray closing bracket or an unclosed opening one.
    """
    tokens = []
    at, end = 0, len(text)
    while at < end:
        byte = text[at]
        if byte in _BLANKS:
            at += 1
        elif byte in _SPECIALS:
            tokens.append(_SPECIALS[byte])
            at += 1
        elif byte in _STRAY:
            raise Unparsable("closing bracket without an opening one")
        elif byte in _CLOSERS:
            token, at = _delimited(text, at)
            tokens.append(token)
        else:
            token, at = _atom(text, at)
            tokens.append(token)
    return tokens


def _delimited(text: bytes, at: int) -> "tuple[Token, int]":
    """Return the quoted string, literal or comment at `at`, and the index after it.

    Only comments nest.
    """
    opener, closer = text[at], _CLOSERS[text[at]][0]
    nests = opener == COMMENT[0]
    content = bytearray()
    level, end = 1, len(text)
    while True:
        at += 1
        if at >= end:
            raise Unparsable("unclosed bracket or quote")
        byte = text[at]
        if byte == closer:
            level -= 1
            if not level:
                return (bytes((opener,)), bytes(content)), at + 1
        elif nests and byte == opener:
            level += 1
        else:
            if byte == _BACKSLASH:
                at += 1
                if at >= end:
                    raise Unparsable("backslash at the end")
                byte = text[at]
            content.append(byte)


def _atom(text: bytes, at: int) -> "tuple[Token, int]":
    start, end = at, len(text)
    while at < end and text[at] not in _ATOM_ENDS:
        # A line end cannot be escaped. C accepts it in the word and then writes an invalid header.
        escapes = text[at] == _BACKSLASH and text[at + 1 : at + 2] not in (b"\r", b"\n")
        at += 2 if escapes else 1
    word = text[start:at]
    if _BACKSLASH in word:
        word = _unescaped(word)
    return (ATOM if word and _NEEDS_QUOTES.isdisjoint(word) else QUOTE, word), min(at, end)


def _unescaped(word: bytes) -> bytes:
    pieces = bytearray()
    rest = iter(word)
    for byte in rest:
        if byte != _BACKSLASH:
            pieces.append(byte)
        elif (escaped := next(rest, None)) is not None:
            pieces.append(escaped)
    return bytes(pieces)


def text_of(tokens: "list[Token]") -> bytes:
    """Return an address in envelope form: no quoting, no comments."""
    return b"".join([b"[%b]" % text if kind == LITERAL else text for kind, text in tokens if kind != COMMENT])


def rewrite_addresses(field: "list[Token]", rewrite: "Rewrite") -> "list[Token]":
    """Replace each address of a field by the result of `rewrite`.

    `field` begins with the field name and the colon.
    The list is read from right to left, which needs no look-ahead: `rewrite` gets the last address first.
    An address in angle brackets may be empty. Missing commas between addresses are inserted.
    Comments within an address move behind it.
    Fails: Unparsable for groups that nest or do not close, and for > without <.
    """
    scan = _Rewriter(rewrite)
    at = len(field) - 1
    while at >= _FIRST:
        kind = field[at][0]
        if kind in (ATOM, QUOTE, LITERAL):
            if scan.after_word:
                scan.finish_address(with_comma=True)
            scan.after_word = True
            scan.address.append(field[at])
        elif kind == COMMENT:
            scan.done.append(field[at])
        elif kind == COMMA:
            scan.finish_address()
            scan.done.append(field[at])
        elif kind == SEMICOLON:
            scan.finish_address(with_comma=True)
            scan.enter_group()
            scan.done.append(field[at])
        elif kind == COLON:
            scan.finish_address()
            scan.leave_group()
            at = scan.copy(field, at, lambda token: token[0] != COMMA)
            if at >= _FIRST:
                scan.done.append(field[at])
        elif kind == RIGHT:
            at = scan.bracketed(field, at)
            continue
        else:
            scan.after_word = False
            scan.address.append(field[at])
        at -= 1
    scan.finish_address()
    return field[:_FIRST] + scan.done[::-1]


class _Rewriter:
    """State of the scan: finished tokens and the current address, both from right to left."""

    def __init__(self, rewrite: "Rewrite") -> None:
        self._rewrite = rewrite
        self._in_group = False
        self.done: list[Token] = []
        self.address: list[Token] = []
        self.after_word = False

    def finish_address(self, with_comma: bool = False) -> None:
        """Rewrite the current address, if any, and expect another one."""
        if self.address:
            self._emit()
            if with_comma:
                self.done.append((COMMA, COMMA))
        self.after_word = False

    def enter_group(self) -> None:
        if self._in_group:
            raise Unparsable("group within a group")
        self._in_group = True

    def leave_group(self) -> None:
        if not self._in_group:
            raise Unparsable("colon outside a group")
        self._in_group = False

    def copy(self, field: "list[Token]", at: int, belongs: "Callable[[Token], bool]") -> int:
        """Copy tokens leftwards while `belongs` holds; return the index where it stopped."""
        while at >= _FIRST and belongs(field[at]):
            self.done.append(field[at])
            at -= 1
        return at

    def bracketed(self, field: "list[Token]", at: int) -> int:
        """Process an address whose angle bracket closes at `at`, and its phrase.

        Returns the next index.
        """
        self.finish_address(with_comma=True)
        self.done.append(field[at])
        at -= 1
        while at >= _FIRST and field[at][0] != LEFT:
            self.address.append(field[at])
            at -= 1
        self._emit()
        if at < _FIRST:
            raise Unparsable("> without <")
        self.done.append(field[at])
        self.after_word = True
        return self.copy(field, at - 1, lambda token: token[0] in _PHRASE)

    def _emit(self) -> None:
        self.done.extend(reversed(self._rewrite(self.address[::-1])))
        self.address.clear()


def render(tokens: "list[Token]", width: int = LINE_WIDTH) -> bytes:
    """Write tokens as a field that ends in LF, folded after commas at `width` characters."""
    segments = [bytearray()]
    last = b""
    for kind, text in tokens:
        if _needs_space(last, kind):
            segments[-1] += b" "
        last = kind
        if kind in _BRACKETS:
            opener, closer = _BRACKETS[kind]
            segments[-1] += opener + _escaped(text) + closer
        else:
            segments[-1] += text
            if kind == COMMA:
                segments.append(bytearray())
    lines = [segments[0]]
    for segment in segments[1:]:
        if len(lines[-1]) + len(segment) + 2 <= width:
            lines[-1] += segment
        else:
            lines.append(bytearray(b" ") + segment)
    return b"\n".join(lines) + b"\n"


def _needs_space(left: bytes, right: bytes) -> bool:
    if not left:
        return False
    return left in (COLON, COMMA) or right == LEFT or (left in _WORDS and right in _WORDS)


def _escaped(text: bytes) -> bytes:
    if _ESCAPED.isdisjoint(text):
        return text
    if b"\n" in text:
        # A continuation line begins with a blank, so that the result remains one field.
        first, *lines = text.split(b"\n")
        text = b"\n".join((first, *(line if line[:1] in (b" ", b"\t") else b" " + line for line in lines)))
    return b"".join([b"\\%c" % byte if byte in _ESCAPED else b"%c" % byte for byte in text])
