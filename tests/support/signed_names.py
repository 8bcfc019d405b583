"""A signed zone `test` on NSD, an unsigned zone `plain` beside it, and an unbound that validates; all on loopback.

Fails: AssertionError, with the output of the server.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.dnssec
import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdataset
import dns.rdatatype
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec
from dns.dnssectypes import Algorithm

from tests.support.foreign_servers import unpacked
from tests.support.mail_system import free_port, until

_BEGINNING = "@ 60 SOA ns root 1 60 60 60 60\n@ 60 NS ns\nns 60 A 127.0.0.1\n"


class ValidatingResolver:
    """The port of a running unbound, with the interface of NameServer."""

    def __init__(self) -> None:
        self.port = free_port()


def signed_zone(records: str, bogus: tuple[str, ...]) -> tuple[str, str]:
    """Sign the zone `test`; its text and its key as a trust anchor.

    `bogus`: TLSA records of these names are changed after they were signed.
    """
    zone = dns.zone.from_text(_BEGINNING + records, origin="test.", relativize=False)
    key = ec.generate_private_key(ec.SECP256R1())
    public = dns.dnssec.make_dnskey(key.public_key(), Algorithm.ECDSAP256SHA256, flags=257)
    with zone.writer() as transaction:
        dns.dnssec.sign_zone(zone, transaction, keys=[(key, public)], lifetime=86400)
    for name in bogus:
        node = zone.find_rdataset(dns.name.from_text(name), "TLSA")
        text = node[0].to_text()
        wrong = dns.rdataset.from_text("IN", "TLSA", node.ttl, text[:-2] + ("00" if text[-2:] != "00" else "11"))
        zone.replace_rdataset(dns.name.from_text(name), wrong)
    return zone.to_text(relativize=False), f"test. 60 IN DNSKEY {public.to_text()}"


@contextmanager
def validating_resolver(records: str, plain: str, bogus: tuple[str, ...] = ()) -> Iterator[ValidatingResolver]:
    """Serve the records of `test` and of `plain`, and validate them."""
    resolver, port = ValidatingResolver(), free_port()
    text, anchor = signed_zone(records, bogus)
    with tempfile.TemporaryDirectory(prefix="eqmail-dnssec-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "test.zone").write_text(text)
        (folder / "plain.zone").write_text("$ORIGIN plain.\n" + _BEGINNING + plain)
        zones = "".join(f'zone:\n name: "{it}"\n zonefile: "{it}.zone"\n' for it in ("test", "plain"))
        (folder / "nsd.conf").write_text(
            f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n zonesdir: "{folder}"\n'
            f' pidfile: "{folder}/pid"\n database: ""\n xfrdfile: "{folder}/xfrd"\n zonelistfile: "{folder}/list"\n'
            f' logfile: "{folder}/log"\n server-count: 1\n xfrdir: "{folder}"\n'
            f"remote-control:\n control-enable: no\n{zones}"
        )
        stubs = "".join(f'stub-zone:\n name: "{it}."\n stub-addr: 127.0.0.1@{port}\n' for it in ("test", "plain"))
        (folder / "unbound.conf").write_text(
            f"server:\n interface: 127.0.0.1@{resolver.port}\n access-control: 127.0.0.0/8 allow\n do-daemonize: no\n"
            f' username: ""\n chroot: ""\n directory: "{folder}"\n pidfile: "{folder}/unbound.pid"\n'
            f' use-syslog: no\n do-not-query-localhost: no\n module-config: "validator iterator"\n do-ip6: no\n'
            f' trust-anchor: "{anchor}"\n domain-insecure: "plain."\n'
            f' local-zone: "test." nodefault\nremote-control:\n control-enable: no\n{stubs}'
        )
        commands: list[list[str | Path]] = [
            [unpacked("nsd") / "usr/sbin/nsd", "-d", "-c", folder / "nsd.conf"],
            [unpacked("unbound") / "usr/sbin/unbound", "-d", "-c", folder / "unbound.conf"],
        ]
        with open(folder / "output", "wb") as output:
            running = [subprocess.Popen(command, stdout=output, stderr=output) for command in commands]
        try:

            def answers() -> bool:
                for process in running:
                    assert process.poll() is None, (folder / "output").read_text()
                try:
                    answer = dns.query.udp(dns.message.make_query("ns.test", "A"), "127.0.0.1", 1, resolver.port)
                except (OSError, dns.exception.DNSException):
                    return False
                return answer.rcode() == dns.rcode.NOERROR

            until(answers, "an answer of unbound")
            yield resolver
        finally:
            for process in running:
                process.terminate()
                process.wait()
