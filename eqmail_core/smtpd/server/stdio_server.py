"""Serve one SMTP client on descriptors 0 and 1, in a process of its own.

Light: all of it is imported for each client.  Source: smtp-server.md 4.1; qmail-smtpd(8).
"""

import os

from eqmail_core.access.morercpthosts import morercpthosts_lookup
from eqmail_core.control.setting import ControlError
from eqmail_core.filters.chain import read_filters
from eqmail_core.smtpd.policy.authority import ClientAuthority
from eqmail_core.smtpd.policy.outcome import NO_CONTROLS, log_line
from eqmail_core.smtpd.protocol import replies as reply
from eqmail_core.smtpd.server.blocking_session import BlockingSmtpSession
from eqmail_core.smtpd.server.config_reader import read_policy_config, read_tls
from eqmail_core.system.installation import read_controls, read_site
from eqmail_core.system.log import write_stderr
from eqmail_core.system.timed_stream import TimedStream


def serve(checker: list[bytes], environ: dict[bytes, bytes]) -> int:
    """Serve the client and return the exit code.  `checker`: argv of the checkpassword program."""
    try:
        site = read_site(environ)
        os.chdir(site.home)
        controls = read_controls(site, environ)
        port = environ.get(b"TCPLOCALPORT", b"0")
        tls = read_tls(site, controls, lambda what: _log(what, environ))
        config = read_policy_config(site, controls, environ, morercpthosts_lookup(site), checker, port, tls is not None)
        timeout_s, idle_s = controls.timeoutsmtpd, controls.smtpidle
        filters = read_filters(controls, lambda what: _log(what, environ))
    except (ControlError, OSError, ValueError):
        _log(NO_CONTROLS, environ)
        os.write(1, reply.NO_CONTROLS + b"\r\n")
        return 1
    client = ClientAuthority(environ, config.delays)
    begins_with_tls = b"SMTPS" in environ
    stream = TimedStream(timeout_s)
    return BlockingSmtpSession(site, config, client, stream, checker, tls, begins_with_tls, idle_s, filters).run()


def _log(what: bytes, environ: dict[bytes, bytes]) -> None:
    remote_host = environ.get(b"TCPREMOTEHOST", b"unknown")
    write_stderr(log_line(what, None, environ.get(b"TCPREMOTEIP", b"unknown"), None, remote_host))
