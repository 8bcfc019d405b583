"""qmail-tcpsrv [options] host port program [arg...]: run a program for every TCP connection, as tcpserver does.

Options: -c limit (40 at once), -x rules.cdb (-X: it may be missing), -u uid -g gid (-U: from the environment),
-v each connection is logged, -q nothing is, -h/-H look up the client's name or not, -p believe it only when its address
is that of the name, -l localname, -r ask who runs the client, -t timeout of that, -B banner, -b backlog, -D no delay,
-o keep IP options, -1 print the port, -4 IPv4 only, -I interface.  A host of 0 is every address of this host.
Exits: 0 on TERM, 100 usage, 111 trouble; a connection that the rules deny ends with 100.
Source: smtp-server.md 4.9; tcpserver(1).
"""

import os

from eqmail_core.outcome import EXIT_PERMANENT
from eqmail_core.system.log import fatal, log_line
from eqmail_core.tcpserver.options import USAGE, BadUsage, parse_command_line
from eqmail_core.tcpserver.server import NAME, TcpServer, TcpServerError
from eqmail_core.text.options import BadOption


def main(argv: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve."""
    try:
        options = parse_command_line(argv, environ)
    except BadOption as bad:
        log_line(NAME, bad.text)
        os.write(2, USAGE + b"\n")
        return EXIT_PERMANENT
    except BadUsage:
        os.write(2, USAGE + b"\n")
        return EXIT_PERMANENT
    try:
        server = TcpServer(options, environ)
        server.assume_role()
        server.run()
    except TcpServerError as reason:
        return fatal(NAME, str(reason))
