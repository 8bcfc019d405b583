"""The exit codes of qmail-queue, and the texts that every injector derives from them.

Source: queue.md 3.5 (qmail.c qmail_close).
"""

OK = 0
ADDRESS_TOO_LONG = 11
REJECTED = 31
NO_MEMORY = 51
TIMEOUT = 52
WRITE_ERROR = 53
READ_ERROR = 54
NO_HOME = 61
NO_QUEUE = 62
NO_PID_FILE = 63
NO_MESS_FILE = 64
NO_INTD_FILE = 65
NO_TODO_FILE = 66
SERVICE_AWAY = 71
TIMED_OUT = 72
CONNECTION_LOST = 74
OVER_LIMIT = 75
BUG = 81
OWN_TEXT = 82
BAD_ENVELOPE = 91
CANNOT_EXEC = 120
CRASHED = -1
WAIT_FAILED = -2

# SERVICE_AWAY, TIMED_OUT and CONNECTION_LOST: what a client of the service reports of itself; after the last it is
# unknown whether the message is queued.
_TEXTS = {
    11: b"Denvelope address too long for qq (#5.1.3)",
    115: b"Denvelope address too long for qq (#5.1.3)",
    31: b"Dmail server permanently rejected message (#5.3.0)",
    51: b"Zqq out of memory (#4.3.0)",
    52: b"Zqq timeout (#4.3.0)",
    53: b"Zqq write error or disk full (#4.3.0)",
    54: b"Zqq read error (#4.3.0)",
    55: b"Zqq unable to read configuration (#4.3.0)",
    56: b"Zqq trouble making network connection (#4.3.0)",
    61: b"Zqq trouble in home directory (#4.3.0)",
    62: b"Zqq trouble creating files in queue (#4.3.0)",
    63: b"Zqq trouble creating files in queue (#4.3.0)",
    64: b"Zqq trouble creating files in queue (#4.3.0)",
    65: b"Zqq trouble creating files in queue (#4.3.0)",
    66: b"Zqq trouble creating files in queue (#4.3.0)",
    71: b"Zmail server temporarily rejected message (#4.3.0)",
    72: b"Zconnection to mail server timed out (#4.4.1)",
    73: b"Zconnection to mail server rejected (#4.4.1)",
    74: b"Zcommunication with mail server failed (#4.4.2)",
    75: b"Zyou have sent too much mail in a short time, try again later (#4.7.1)",
    81: b"Zqq internal bug (#4.3.0)",
    91: b"Zqq internal bug (#4.3.0)",
    120: b"Zunable to exec qq (#4.3.0)",
    CRASHED: b"Zqq crashed (#4.3.0)",
    WAIT_FAILED: b"Zqq waitpid surprise (#4.3.0)",
}


TEXT_FD = 4
"""Descriptor on which a replacement of qmail-queue may write why it refuses a message."""

MAX_TEXT = 255
"""Longest such text, in bytes."""


class Reasoned(int):
    """An exit code of such a program with the text it wrote.

    `reason`: the text, after an outcome letter (D or Z).
    """

    reason: bytes

    def __new__(cls, code: int, reason: bytes) -> "Reasoned":
        """Combine code and text.

        A text without an outcome letter is ignored; others become one safe line.
        """
        self = super().__new__(cls, code)
        line = reason[:MAX_TEXT].partition(b"\n")[0].rstrip(b"\r")
        is_text = line[:1] in (b"D", b"Z") and len(line) > 1
        self.reason = bytes(byte if 32 <= byte != 127 else 63 for byte in line) if is_text else b""
        return self


def explain(code: int) -> bytes:
    """Explain an exit code of qmail-queue: b"" for success, else the reason.

    The reason is an outcome letter (D or Z) and a text.
    """
    if code == OK:
        return b""
    if code in (REJECTED, OWN_TEXT) and isinstance(code, Reasoned) and code.reason:
        return code.reason
    text = _TEXTS.get(code)
    if text is not None:
        return text
    return b"Dqq permanent problem (#5.3.0)" if 11 <= code <= 40 else b"Zqq temporary problem (#4.3.0)"
