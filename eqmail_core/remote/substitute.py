"""A program of the administrator in place of the service's own deliveries.

Fails: never; every error is a report.
"""

import asyncio
import os

from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.outcome import PERMANENT, TEMPORARY, DeliveryResult
from eqmail_core.remote.report import report_of_run
from eqmail_core.spawn.protocol import NO_MESSAGE
from eqmail_core.system.files import CHUNK
from eqmail_core.system.message_file import MessageFile, MessageUnreadable

KEPT_OUTPUT = 65536


async def run_substitute(program: bytes, order: DeliveryRequest, message: int) -> DeliveryResult:
    """Run a program with qmail-remote's arguments and the message on descriptor 0.

    The arguments are HOST SENDER RECIPIENT.
    """
    name = os.path.basename(program)
    host = order.recipient.rpartition(b"@")[2]
    try:
        stdin = MessageFile(message).reopen()
    except MessageUnreadable:
        return NO_MESSAGE
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            host,
            order.sender,
            order.recipient,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        outcome = PERMANENT if isinstance(error, FileNotFoundError | PermissionError) else TEMPORARY
        return DeliveryResult(outcome, b"Unable to run %b.\n" % name)
    finally:
        os.close(stdin)
    assert process.stdout is not None
    output = b""
    try:
        while piece := await process.stdout.read(CHUNK):
            output = (output + piece)[:KEPT_OUTPUT]
        code = await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return report_of_run(name, code, output)
