"""qreceipt address: send the sender the requested receipt for the message; from a .qmail file.

Needs SENDER.  Exits: 0, 100, 111.  Source: delivery.md 5.9; qreceipt(1).
"""

from eqmail_core.mail.envelope import Envelope
from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, Failure
from eqmail_core.queue.client.enqueue import queue_text
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal, log_line, write_stderr
from eqmail_core.system.message_input import read_header
from eqmail_core.tools.receipt import CannotParse, receipt_for


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Read the header; queue the notice if the message asks for one for this address."""
    if len(argv) < 2 or b"SENDER" not in environ:
        log_line("qreceipt", "usage: qreceipt deliveryaddress")
        return EXIT_PERMANENT
    sender = environ[b"SENDER"]
    try:
        notice = receipt_for(read_header(0).fields, argv[1], sender)
        if notice:
            queue_text(read_site(environ), environ, notice, Envelope(b"", [sender]))
    except CannotParse as bad:
        write_stderr(b"qreceipt: fatal: unable to parse this: " + bad.field)
        return EXIT_PERMANENT
    except Failure as failure:
        kind = "permanent" if failure.exit_code == EXIT_PERMANENT else "temporary"
        return fatal("qreceipt", f"{kind} qmail-queue error", failure.exit_code)
    except OSError:
        return fatal("qreceipt", "read error")
    return EXIT_DONE
