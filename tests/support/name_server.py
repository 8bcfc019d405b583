"""A name server on loopback for the tests: a table of records, and names that misbehave."""

import socket
import struct
import threading
from types import TracebackType

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

Zone = dict[tuple[str, str], list[str]]


class NameServer:
    """Answers by UDP and TCP on one port of `host` from `zone`: (name, type) -> records; aliases are followed.

    Names that begin with servfail (and those of `failing`), silent or garbage get that; those that begin with big are
    truncated by UDP.
    What is asked about a name of `signed`, and its aliases lead to such, has the AD bit, as from a validating resolver.
    `asked` counts questions; those with EDNS get the code `without_edns`, where there is one.
    """

    def __init__(
        self, zone: Zone, without_edns: dns.rcode.Rcode | None = None, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        self.host = host
        self.zone = zone
        self.without_edns = without_edns
        self.signed: set[str] = set()
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self.tcp = socket.create_server((host, port))
        self.port: int = self.tcp.getsockname()[1]
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((host, self.port))
        self.threads = [threading.Thread(target=self._serve_udp), threading.Thread(target=self._serve_tcp)]

    def __enter__(self) -> "NameServer":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stop:
            stop.sendto(b"", (self.host, self.port))
        socket.create_connection((self.host, self.port)).close()
        for thread in self.threads:
            thread.join()
        self.udp.close()
        self.tcp.close()

    def _serve_udp(self) -> None:
        while True:
            data, client = self.udp.recvfrom(4096)
            if not data:
                return
            answer = self._answer(data, "udp")
            if answer:
                self.udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            client, _ = self.tcp.accept()
            with client:
                head = client.recv(2)
                if not head:
                    return
                answer = self._answer(client.recv(struct.unpack("!H", head)[0]), "tcp")
                client.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, by: str) -> bytes:
        query = dns.message.from_wire(data)
        question = query.question[0]
        kind = dns.rdatatype.to_text(question.rdtype)
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append((name, kind, by))
        if name.startswith("silent"):
            return b""
        if name.startswith("garbage"):
            return data[:2] + b"\x81\x80garbage"
        response = dns.message.make_response(query)
        if self.without_edns is not None and query.edns >= 0:
            response = dns.message.make_response(dns.message.make_query(name, kind))
            response.id = query.id
            response.set_rcode(self.without_edns)
        elif name.startswith("servfail") or name in self.failing:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif name.startswith("big") and by == "udp":
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, kind)
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, kind: str) -> None:
        is_signed = True
        for _ in range(20):
            is_signed = is_signed and name in self.signed
            alias = self.zone.get((name, "CNAME"))
            records = self.zone.get((name, kind))
            if records:
                response.answer.append(dns.rrset.from_text(name + ".", 60, "IN", kind, *records))
            if records or not alias:
                break
            response.answer.append(dns.rrset.from_text(name + ".", 60, "IN", "CNAME", *alias))
            name = alias[0].rstrip(".").lower()
        if not any(known == name for known, _ in self.zone):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if is_signed:
            response.flags |= dns.flags.AD
