"""The server side of POP3: what both of its machines share, and the one after authentication; no I/O.

Both machines accept bytes in any fragmentation and produce every reply that needs no external action.  They stop at an
event that needs one.  There are two machines for two processes: the one before authentication runs as another user
than the one after it.

Fails: never on client input; bad input becomes a reply.
Source: smtp-server.md 4.12 (qmail-popup.c, qmail-pop3d.c, commands.c); RFC 1939, RFC 2449 (CAPA), RFC 6856 (UTF8).
"""

from eqmail_core.auth.credentials import Credentials
from eqmail_core.text.line_buffer import LineBuffer
from eqmail_core.text.lines import leading_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PASS, APOP = b"pass", b"apop"

OK = b"+OK "
SYNTAX = b"syntax error"
USER_FIRST = b"USER first"
AUTHORIZATION_FIRST = b"authorization first"
AUTHORIZATION_FAILED = b"authorization failed"
UNIMPLEMENTED = b"unimplemented"
COUNTED_FROM_ONE = b"messages are counted from 1"
NOT_THAT_MANY = b"not that many messages"
ALREADY_DELETED = b"already deleted"
CANNOT_OPEN = b"unable to open that message"
CANNOT_UNLINK = b"unable to unlink all deleted messages"
NO_MAILDIR = b"this user has no $HOME/Maildir"
CANNOT_SCAN = b"unable to scan $HOME/Maildir"

NO_CHECKER = b"no program checks passwords here"
TLS_FIRST = b"STLS first"
NO_TLS = b"TLS is not available"

_END = b".\r\n"

# RFC 2449, RFC 6856.  Messages are sent as they are, with UTF8 or without.
_CAPABILITIES = (b"TOP", b"UIDL", b"PIPELINING", b"UTF8 USER", b"IMPLEMENTATION eQmail")
CAPABILITY_USER, CAPABILITY_STLS = b"USER", b"STLS"


def refusal(text: bytes) -> bytes:
    """The -ERR reply with this text, a whole line."""
    return b"-ERR " + text + b"\r\n"


class MaildropMessage:
    """A message as POP3 reports it: its size in bytes and its unique-id for UIDL."""

    __slots__ = ("name", "size")

    def __init__(self, size: int, name: bytes) -> None:
        self.size = size
        self.name = name


class Retrieve:
    """RETR or TOP of the message at `index`; `lines` is the number of body lines of TOP."""

    __slots__ = ("index", "lines")

    def __init__(self, index: int, lines: int | None) -> None:
        self.index = index
        self.lines = lines


class Update:
    """QUIT: the messages at `deleted` must be removed."""

    __slots__ = ("deleted",)

    def __init__(self, deleted: list[int]) -> None:
        self.deleted = deleted


class Flush:
    """A long reply is ready; it must be sent before the machine makes another."""

    __slots__ = ()


class TlsRequest:
    """STLS: after the output is sent, TLS begins."""

    __slots__ = ()


FLUSH = Flush()
TLS_REQUEST = TlsRequest()

Pop3Event = Credentials | Retrieve | Update | Flush | TlsRequest


class Pop3Machine(LineBuffer):
    """Lines in, replies out; holds at most one line and the bytes of the last `receive`."""

    MAX_LINE = 1000

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self._out: list[bytes] = []

    def receive(self, data: bytes) -> None:
        """Accept bytes from the client."""
        self._add(data)

    def next_event(self) -> Pop3Event | None:
        """The next event that needs an external action; None while more bytes are needed.

        Input after an event is not parsed before the next call.
        """
        while not self.closed and (line := self._next_line()) is not None:
            # C reads a line as a string: it ends at a NUL.
            event = self._command(line.partition(b"\0")[0])
            if event is not None:
                return event
        return None

    def take_output(self) -> bytes:
        """Return everything to send since the last call."""
        out, self._out = self._out, []
        return b"".join(out)

    def take_rest(self) -> bytes:
        """Return the bytes that were received and not parsed yet."""
        rest, self._buffer, self._position = self._buffer[self._position :], b"", 0
        return rest

    def end(self, problem: bytes | None = None) -> None:
        """Reply whether the last event succeeded, and close the session."""
        self._accept() if problem is None else self._refuse(problem)
        self.closed = True

    def _command(self, line: bytes) -> Pop3Event | None:
        raise NotImplementedError

    def _accept(self, text: bytes = b"") -> None:
        self._out.append(OK + text + b"\r\n")

    def _refuse(self, text: bytes) -> None:
        self._out.append(refusal(text))

    def _line_dropped(self) -> None:
        self._refuse(SYNTAX)

    def _list_capabilities(self, argument: bytes) -> None:
        self._accept()
        self._out += [line + b"\r\n" for line in (*_CAPABILITIES, *self._more_capabilities())]
        self._out.append(_END)

    def _more_capabilities(self) -> tuple[bytes, ...]:
        return (CAPABILITY_USER,)


class Transaction(Pop3Machine):
    """The TRANSACTION state; messages keep their numbers, counted from 1, after deletions.

    Call `send_message` or `refuse` after a Retrieve, `end` after an Update.
    """

    def __init__(self, messages: list[MaildropMessage]) -> None:
        super().__init__()
        self._messages = messages
        self._deleted: set[int] = set()
        self._last = 0
        self._accept()

    def send_message(self) -> None:
        """Announce the requested message; its bytes follow the output, encoded by `MessageText`."""
        self._accept()

    def refuse(self, text: bytes) -> None:
        """Reply why the requested message cannot be sent."""
        self._refuse(text)

    def _command(self, line: bytes) -> Pop3Event | None:
        verb, argument = split_command(line)
        act = _VERBS.get(verb)
        if act is None:
            self._refuse(UNIMPLEMENTED)
            return None
        return act(self, argument)

    def _kept(self) -> list[int]:
        return [index for index in range(len(self._messages)) if index not in self._deleted]

    def _index(self, argument: bytes) -> int | None:
        """The message that an argument names; None after an error reply."""
        number = leading_number(argument)
        if number is None:
            self._refuse(SYNTAX)
        elif number == 0:
            self._refuse(COUNTED_FROM_ONE)
        elif number > len(self._messages):
            self._refuse(NOT_THAT_MANY)
        elif number - 1 in self._deleted:
            self._refuse(ALREADY_DELETED)
        else:
            return number - 1
        return None

    def _stat(self, argument: bytes) -> None:
        kept = self._kept()
        self._accept(b"%d %d" % (len(kept), sum(self._messages[index].size for index in kept)))

    def _list(self, argument: bytes) -> Pop3Event | None:
        return self._reply_about(argument, lambda message: b"%d" % message.size)

    def _uidl(self, argument: bytes) -> Pop3Event | None:
        return self._reply_about(argument, lambda message: message.name)

    def _reply_about(self, argument: bytes, fact: "Callable[[MaildropMessage], bytes]") -> Pop3Event | None:
        if argument:
            index = self._index(argument)
            if index is not None:
                self._accept(b"%d %b" % (index + 1, fact(self._messages[index])))
            return None
        self._accept()
        self._out += [b"%d %b\r\n" % (index + 1, fact(self._messages[index])) for index in self._kept()]
        self._out.append(_END)
        return FLUSH

    def _dele(self, argument: bytes) -> None:
        index = self._index(argument)
        if index is not None:
            self._deleted.add(index)
            self._last = max(self._last, index + 1)
            self._accept()

    def _retr(self, argument: bytes) -> Pop3Event | None:
        index = self._index(argument)
        return None if index is None else Retrieve(index, None)

    def _top(self, argument: bytes) -> Pop3Event | None:
        index = self._index(argument)
        return None if index is None else Retrieve(index, leading_number(argument.lstrip(b"0123456789").lstrip(b" ")))

    def _rset(self, argument: bytes) -> None:
        self._deleted.clear()
        self._last = 0
        self._accept()

    def _reply_last(self, argument: bytes) -> None:
        self._accept(b"%d" % self._last)

    def _noop(self, argument: bytes) -> None:
        self._accept()

    def _quit(self, argument: bytes) -> Pop3Event:
        return Update(sorted(self._deleted))


def split_command(line: bytes) -> tuple[bytes, bytes]:
    """The verb in lower case and the argument after the following blanks."""
    verb, _, argument = line.partition(b" ")
    return verb.lower(), argument.lstrip(b" ")


_VERBS: "dict[bytes, Callable[[Transaction, bytes], Pop3Event | None]]" = {
    b"stat": Transaction._stat,
    b"list": Transaction._list,
    b"uidl": Transaction._uidl,
    b"dele": Transaction._dele,
    b"retr": Transaction._retr,
    b"top": Transaction._top,
    b"rset": Transaction._rset,
    b"last": Transaction._reply_last,
    b"noop": Transaction._noop,
    b"quit": Transaction._quit,
    b"capa": Transaction._list_capabilities,
}
