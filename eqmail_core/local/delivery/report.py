"""Converts the exit code and output of a qmail-local into a report.

Source: queue.md 3.11; qmail-lspawn.c report.
"""

from eqmail_core.outcome import DONE, DURABLE, PERMANENT, TEMPORARY, DeliveryResult, Disposition

KEPT_OUTPUT = 3000
"""Maximum output of a local delivery in its report, in bytes."""

CANNOT_RUN = 120
NOT_RUNNABLE = 126

_RESULTS = {
    112: DeliveryResult(TEMPORARY, b"Internal qmail-lspawn bug.\n"),
    113: DeliveryResult(TEMPORARY, b"Not allowed to perform deliveries as root.\n"),
    115: DeliveryResult(TEMPORARY, b"NFS failure in qmail-local.\n"),
    116: DeliveryResult(TEMPORARY, b"Unable to find alias user!\n"),
    117: DeliveryResult(TEMPORARY, b"Trouble reading users/cdb in qmail-lspawn.\n"),
    118: DeliveryResult(TEMPORARY, b"Temporary failure in qmail-lspawn.\n"),
    119: DeliveryResult(TEMPORARY, b"Out of memory in qmail-lspawn.\n"),
    CANNOT_RUN: DeliveryResult(TEMPORARY, b"Unable to run qmail-local.\n"),
    121: DeliveryResult(TEMPORARY, b"Unable to run qmail-getpw.\n"),
    NOT_RUNNABLE: DeliveryResult(PERMANENT, b"Unable to run qmail-local.\n"),
}
_OUTCOMES = {0: DONE, 111: TEMPORARY, 71: TEMPORARY, 74: TEMPORARY, 75: TEMPORARY}

CRASHED = DeliveryResult(TEMPORARY, b"qmail-local crashed.\n")


def local_report(code: int, output: bytes, disposition: Disposition = DURABLE) -> DeliveryResult:
    """Return the result for an exit code (negative: a signal) and the output.

    The output counts up to its first NUL.
    """
    if code < 0:
        return CRASHED
    return _RESULTS.get(code) or DeliveryResult(_OUTCOMES.get(code, PERMANENT), output.partition(b"\0")[0], disposition)
