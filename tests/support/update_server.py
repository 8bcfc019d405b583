"""A name server on loopback that takes updates signed by a key, into the zone of a test."""

import socket
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring
import dns.update

from tests.support.name_server import Zone


class UpdateServer:
    """Answers for `apex`, and writes TXT records of updates into `zone`; a context."""

    def __init__(self, apex: str, zone: Zone, key: str, secret: str) -> None:
        self.apex = dns.name.from_text(apex)
        self.zone = zone
        self.keyring = dns.tsigkeyring.from_text({key: secret})
        self.updates: list[tuple[str, list[str]]] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "UpdateServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        socket.create_connection(("127.0.0.1", self.port)).close()
        self.thread.join()
        self.socket.close()

    def _serve(self) -> None:
        while True:
            client, _ = self.socket.accept()
            with client:
                client.settimeout(60)
                head = client.recv(2)
                if not head:
                    return
                answer = self._answer(client.recv(struct.unpack("!H", head)[0])).to_wire()
                client.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, wire: bytes) -> dns.message.Message:
        try:
            question = dns.message.from_wire(wire, keyring=self.keyring)
        except dns.message.UnknownTSIGKey:
            plain = dns.message.from_wire(wire, keyring=False)
            refused = dns.message.make_response(plain)
            refused.set_rcode(dns.rcode.NOTAUTH)
            return refused
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.AA
        if isinstance(question, dns.update.UpdateMessage):
            if not question.had_tsig:
                answer.set_rcode(dns.rcode.REFUSED)
            else:
                self._update(question)
        elif question.question[0].name == self.apex and question.question[0].rdtype == dns.rdatatype.SOA:
            answer.answer.append(
                dns.rrset.from_text(self.apex, 60, "IN", "SOA", ". . 1 60 60 60 60"),
            )
        return answer

    def _update(self, message: dns.update.UpdateMessage) -> None:
        for change in message.update:
            name = change.name.to_text(omit_final_dot=True)
            texts = [str(record) for record in change] if change.deleting is None else []
            self.updates.append((name, texts))
            if texts:
                self.zone[(name, "TXT")] = [*self.zone.get((name, "TXT"), []), *texts]
            else:
                self.zone.pop((name, "TXT"), None)
