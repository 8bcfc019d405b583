"""qmail-local [-nN] user homedir local dash ext domain sender defaultdelivery: deliver or forward one message.

The message is descriptor 0.  Exits: 0 done, 100 permanent failure, 111 temporary failure.
Source: qmail-local(8).
"""

import os

from eqmail_core.local.delivery.deliver import deliver, dry_run
from eqmail_core.local.delivery.request import LocalDelivery
from eqmail_core.outcome import EXIT_DONE, EXIT_PERMANENT, Failure
from eqmail_core.system.files import write_all
from eqmail_core.system.installation import read_site
from eqmail_core.system.log import write_stderr

USAGE = b"qmail-local: usage: qmail-local [ -nN ] user homedir local dash ext domain sender aliasempty\n"


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Deliver the message on descriptor 0, or with -n only say how."""
    words = argv[1:]
    dry = False
    while words and words[0][:1] == b"-" and len(words[0]) > 1:
        option = words.pop(0)
        if option == b"--":
            break
        if option.strip(b"nN") != b"-":
            return _usage()
        dry = option.endswith(b"n")
    if len(words) != 8 or words[1][:1] != b"/":
        return _usage()
    delivery = LocalDelivery(*words)
    site = read_site(environ)
    os.umask(0o077)
    try:
        if dry:
            dry_run(site, delivery, lambda line: write_all(1, line), write_stderr)
        else:
            write_all(1, deliver(site, delivery, 0, environ).text)
    except Failure as failure:
        if failure.text:
            write_stderr(failure.text + b"\n")
        return failure.exit_code
    return EXIT_DONE


def _usage() -> int:
    write_stderr(USAGE)
    return EXIT_PERMANENT
