"""forward address ...: send the message that is being delivered to other addresses, from a .qmail file.

Needs NEWSENDER and DTLINE.  Exits: 0, 100, 111.  Source: delivery.md 5.9; forward(1).
"""

from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, Failure
from eqmail_core.queue.client.enqueue import forward_input
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import fatal, log_line


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Queue the Delivered-To line and the message, from the forwarding sender."""
    for name in (b"NEWSENDER", b"DTLINE"):
        if name not in environ:
            return fatal("forward", name + b" not set", EXIT_PERMANENT)
    try:
        qp = forward_input(read_site(environ), environ, environ[b"DTLINE"], environ[b"NEWSENDER"], argv[1:])
    except Failure as failure:
        return fatal("forward", failure.text, failure.exit_code)
    log_line("forward", f"qp {qp}")
    return EXIT_DONE
