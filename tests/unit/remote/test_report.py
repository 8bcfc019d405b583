"""What the spawner makes of the output of qmail-remote."""

import pytest

from eqmail_core.outcome import DeliveryResult
from eqmail_core.remote.report import report_of_output, report_of_run

P = b"qmail-remote"


@pytest.mark.parametrize(
    ("output", "report"),
    [
        (b"r\0K1 accepted.\n\0", (b"K", b"1 accepted.\n")),
        (b"r\0Z1 failed.\n\0", (b"Z", b"1 failed.\n")),
        (b"r\0D1 failed.\n\0", (b"D", b"1 failed.\n")),
        (b"ZSorry.\n\0", (b"Z", b"Sorry.\n")),
        (b"DSorry.\n\0", (b"D", b"Sorry.\n")),
        (b"h1 no.\n\0DGiving up.\n\0", (b"D", b"1 no.\nGiving up.\n")),
        (b"s1 later.\n\0DGiving up.\n\0", (b"Z", b"1 later.\nGiving up.\n")),
        (b"s1 later.\n\0K1 accepted.\n\0", (b"Z", b"1 later.\n")),
        (b"h1 no.\n\0Z1 died.\n\0", (b"D", b"1 no.\n")),
        (b"r\0s2 later\0K1 accepted.\n\0", (b"K", b"")),
        (b"r\0", (b"D", b"")),
        (b"unfinished", (b"D", b"")),
        (b"\0", (b"D", b"")),
        (b"\0\0K\0", (b"K", b"")),
    ],
)
def test_recipient_and_message_reports_become_one(output: bytes, report: tuple[bytes, bytes]) -> None:
    assert report_of_output(output) == DeliveryResult(*report)


@pytest.mark.parametrize(
    ("code", "output", "report"),
    [
        (-11, b"r\0K\0", (b"Z", b"qmail-remote crashed.\n")),
        (111, b"", (b"Z", b"Unable to run qmail-remote.\n")),
        (100, b"", (b"D", b"Unable to run qmail-remote.\n")),
        (1, b"r\0K\0", (b"D", b"Unable to run qmail-remote.\n")),
        (0, b"", (b"Z", b"qmail-remote produced no output.\n")),
        (0, b"r\0Kok\0", (b"K", b"ok")),
    ],
)
def test_the_end_of_the_program_comes_first(code: int, output: bytes, report: tuple[bytes, bytes]) -> None:
    assert report_of_run(P, code, output) == DeliveryResult(*report)
