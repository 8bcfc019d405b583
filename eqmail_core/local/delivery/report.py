"""Converts the exit code and output of a qmail-local into a report.

Source: queue.md 3.11; qmail-lspawn.c report.
"""

from eqmail_core.outcome import DONE, PERMANENT, TEMPORARY

KEPT_OUTPUT = 3000
"""Maximum output of a local delivery in its report, in bytes."""

CANNOT_RUN = 120
NOT_RUNNABLE = 126

_TEXTS = {
    112: b"ZInternal qmail-lspawn bug.\n",
    113: b"ZNot allowed to perform deliveries as root.\n",
    115: b"ZNFS failure in qmail-local.\n",
    116: b"ZUnable to find alias user!\n",
    117: b"ZTrouble reading users/cdb in qmail-lspawn.\n",
    118: b"ZTemporary failure in qmail-lspawn.\n",
    119: b"ZOut of memory in qmail-lspawn.\n",
    CANNOT_RUN: b"ZUnable to run qmail-local.\n",
    121: b"ZUnable to run qmail-getpw.\n",
    NOT_RUNNABLE: b"DUnable to run qmail-local.\n",
}
_LETTERS = {0: DONE, 111: TEMPORARY, 71: TEMPORARY, 74: TEMPORARY, 75: TEMPORARY}

CRASHED = b"Zqmail-local crashed.\n"


def local_report(code: int, output: bytes) -> bytes:
    """Outcome letter and text for an exit code (negative: a signal) and the output.

    The output counts up to its first NUL.
    """
    if code < 0:
        return CRASHED
    return _TEXTS.get(code) or _LETTERS.get(code, PERMANENT) + output.partition(b"\0")[0]
