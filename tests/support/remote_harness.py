"""A home with control files and a name server, for remote deliveries on loopback."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TypeVar

from eqmail_core.dns.resolver import AsyncResolver, BlockingResolver
from eqmail_core.dns.validation import trust_of
from eqmail_core.ipc.delivery_protocol import DeliveryRequest
from eqmail_core.outcome import DeliveryResult
from eqmail_core.remote.delivery import RemoteDeliveries
from eqmail_core.remote.qmail_remote import deliver_once
from eqmail_core.remote.settings import SettingsSource
from eqmail_core.remote.tcpto import TcptoCache
from eqmail_core.site.site import Site
from eqmail_core.smtp.async_client import ConnectionTimer
from eqmail_core.system.installation import read_controls
from tests.support.name_server import NameServer

Result = TypeVar("Result")
Report = tuple[bytes, bytes]
"""Outcome and text of a result."""

Deliver = Callable[[bytes], Report]
MESSAGE = b"Subject: x\n\n.body\n"
ZONE = {
    ("one.test", "MX"): ["10 a.test."],
    ("two.test", "MX"): ["10 dead.test.", "20 a.test."],
    ("many.test", "MX"): ["10 many-addresses.test."],
    ("many-addresses.test", "A"): ["127.0.0.5", "127.0.0.6", "127.0.0.2"],
    ("dead.test", "A"): ["127.0.0.5"],
    ("a.test", "A"): ["127.0.0.2"],
    ("alias-mx.test", "MX"): ["10 alias.test."],
    ("alias.test", "CNAME"): ["a.test."],
    ("renamed.test", "CNAME"): ["one.test."],
    ("null.test", "MX"): ["0 ."],
    ("to-ip.test", "MX"): ["10 127.0.0.2."],
    ("xn--mller-kva.test", "MX"): ["10 a.test."],
    ("liar.test", "MX"): [f"{number} silent{number}.test." for number in range(300)],
    ("crowd.test", "MX"): [f"{number} dead.test." for number in range(10)],
    ("behind.test", "MX"): ["10 servfail.test.", "20 self.test."],
    ("before.test", "MX"): ["10 nothing.test.", "20 self.test."],
    ("me.test", "MX"): ["10 self.test.", "20 a.test."],
    ("self.test", "A"): ["127.0.0.1"],
    ("six.test", "AAAA"): ["::1"],
}


def reported(result: DeliveryResult) -> Report:
    return result.outcome, result.text


class RemoteHome:
    """A home with control files, and a message; runs plays with deliveries of its own."""

    def __init__(self, home: Path, names: NameServer) -> None:
        self.site = Site(home=str(home), single_user=True)
        self.names = names
        self.name_servers = ["127.0.0.1"]
        self.dns_timeout_s = 10.0
        self.environ: dict[bytes, bytes] = {}
        self.implicit_tls_port = 465
        self.owner = os.getuid()
        for folder in ("control", "bin", "queue/lock"):
            (home / folder).mkdir(parents=True)
        self.home = home
        self.tcpto = home / "queue/lock/tcpto"
        self.tcpto.write_bytes(bytes(2048))
        self.control("helohost", "me.test")
        (home / "message").write_bytes(MESSAGE)
        self.message = os.open(home / "message", os.O_RDONLY)

    def control(self, name: str, text: str) -> None:
        (self.home / "control" / name).write_text(text + "\n")

    def program(self, name: str, text: str) -> None:
        path = self.home / "bin" / name
        path.write_text("#!/bin/sh\n" + text)
        path.chmod(0o755)

    def run(self, scenario: Callable[[RemoteDeliveries], Coroutine[None, None, Result]]) -> Result:
        async def whole() -> Result:
            watch = ConnectionTimer(asyncio.get_running_loop(), tick_s=0.02)
            resolver = AsyncResolver(self.name_servers, self.names.port, self.dns_timeout_s)
            source = SettingsSource(self.site, self.environ)
            slow_hosts = TcptoCache(str(self.tcpto))
            port = self.implicit_tls_port
            deliveries = RemoteDeliveries(self.site, source, resolver, slow_hosts, watch, self.owner, port)
            try:
                return await scenario(deliveries)
            finally:
                watch.close()

        return asyncio.run(whole())

    def write_message(self, text: bytes) -> None:
        """Replace the text of the message."""
        (self.home / "message").write_bytes(text)

    def deliver(self, *recipients: bytes, sender: bytes = b"s@x.test", dsn: bytes = b"") -> list[Report]:
        """Deliver to one recipient after the other."""

        async def scenario(deliveries: RemoteDeliveries) -> list[Report]:
            requests = [DeliveryRequest(number, 1, b"", sender, it, dsn) for number, it in enumerate(recipients)]
            return [reported(await deliveries.deliver(request, self.message)) for request in requests]

        return self.run(scenario)

    def deliver_once(self, recipient: bytes, sender: bytes = b"s@x.test") -> bytes:
        """Deliver as qmail-remote does; the report."""
        kept = os.dup(0)
        os.dup2(self.message, 0)
        os.lseek(0, 0, os.SEEK_SET)
        try:
            controls = read_controls(self.site)
            ask = BlockingResolver(self.name_servers, self.names.port, trust=trust_of(controls.dnssec)).answer
            words = [recipient.rpartition(b"@")[2], sender, recipient]
            return deliver_once(self.site, controls, words, ask, self.implicit_tls_port)
        finally:
            os.dup2(kept, 0)
            os.close(kept)
