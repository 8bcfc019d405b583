"""Convert a run of qmail-remote, or its substitute, to a report for the scheduler.

Source: queue.md 3.11 (rspawn).
"""

from eqmail_core.outcome import DONE, EXIT_TEMPORARY, PERMANENT, TEMPORARY, DeliveryResult

_RANK = {DONE: 1, TEMPORARY: 0, PERMANENT: -1}
_OUTCOME = {rank: letter for letter, rank in _RANK.items()}


def report_of_run(program: bytes, code: int, output: bytes) -> DeliveryResult:
    """Return the result for a program that printed `output` and ended with `code`.

    `code`: the exit code, negative for a signal.
    """
    if code < 0:
        return DeliveryResult(TEMPORARY, program + b" crashed.\n")
    if code:
        outcome = TEMPORARY if code == EXIT_TEMPORARY else PERMANENT
        return DeliveryResult(outcome, b"Unable to run %b.\n" % program)
    if not output:
        return DeliveryResult(TEMPORARY, program + b" produced no output.\n")
    return report_of_output(output)


def report_of_output(output: bytes) -> DeliveryResult:
    """Return the result for qmail-remote's output about one recipient.

    The output is recipient reports, then a message report.
    """
    reports = output.split(b"\0")[:-1]
    message = next((_RANK[it[:1]] for it in reports if it[:1] in _RANK), -1)
    rank = {b"s": 0, b"h": -1}.get(output[:1], message)
    text = reports[0][1:] if reports else b""
    if message <= rank and len(reports) > 1 and reports[1][:1] in _RANK:
        text += reports[1][1:]
    return DeliveryResult(_OUTCOME[rank], text)
