"""An SMTP server on loopback with scripted replies that records what it receives."""

import socket
import threading
import time
from types import TracebackType
from typing import Self

Script = dict[str, str]

DEFAULT: Script = {
    "greet": "220 fake ESMTP",
    "ehlo": "250-fake\n250 8BITMIME",
    "helo": "250 fake",
    "mail": "250 ok",
    "rcpt": "250 ok",
    "data": "354 go",
    "final": "250 queued",
    "quit": "221 bye",
}

PIPELINING: Script = {"ehlo": "250-fake\n250 PIPELINING"}


class ScriptedServer:
    """Serves connection number n by `scripts[n]` (the last one for all later ones), each in a thread.

    A script has a reply for each verb; "!close" closes, "!silent" sends none.  `received` is what each connection sent,
    `callers` whence it came, `messages` the number of accepted messages.
    """

    def __init__(self, *scripts: Script, host: str = "127.0.0.1", port: int = 0) -> None:
        self.scripts = scripts or ({},)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family)
        self.port: int = self.listener.getsockname()[1]
        self.received: list[bytearray] = []
        self.callers: list[str] = []
        self.messages = 0
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._acceptor = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self.listener.close()
        for client in self._open:
            try:
                client.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        for client in self._open:
            client.close()

    def wait_until_received(self, part: bytes, connection: int = -1, seconds: float = 60.0) -> None:
        """Wait until a connection has sent `part`."""
        end = time.monotonic() + seconds
        while len(self.received) <= max(connection, 0) or part not in self.received[connection]:
            assert time.monotonic() < end, f"{part!r} not in {self.received!r}"
            time.sleep(0.005)

    def upgrade(self, client: socket.socket, number: int) -> socket.socket:
        """What goes on after STARTTLS; here in plain text."""
        return client

    def _accept(self) -> None:
        while True:
            try:
                client, caller = self.listener.accept()
            except OSError:
                return
            number = len(self.received)
            self.callers.append(caller[0])
            self.received.append(bytearray())
            self._open.append(client)
            script = DEFAULT | self.scripts[min(number, len(self.scripts) - 1)]
            thread = threading.Thread(target=self._serve, args=(client, number, script))
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket, number: int, script: Script) -> None:
        try:
            if self._say(client, script["greet"]):
                self._converse(client, number, script)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _say(self, client: socket.socket, reply: str) -> bool:
        if reply == "!close":
            return False
        if reply != "!silent":
            client.sendall(b"".join(line.encode("latin-1") + b"\r\n" for line in reply.split("\n")))
        return True

    def _converse(self, client: socket.socket, number: int, script: Script) -> None:
        stream = client.makefile("rb")
        in_data = False
        while line := stream.readline():
            self.received[number] += line
            verb = "final" if in_data else line[:4].decode("latin-1").lower()
            if in_data and line != b".\r\n":
                continue
            reply = script.get(verb, "500 what")
            # Before the client gets the reply.
            self.messages += verb == "final" and reply[0] == "2"
            if not self._say(client, reply) or verb == "quit":
                return
            if verb == "star" and reply[0] == "2":
                client = self.upgrade(client, number)
                stream = client.makefile("rb")
                script = script | {"ehlo": script.get("secured", script["ehlo"])}
            in_data = verb == "data" and reply[0] in "23"


class EarlyRefusalServer(ScriptedServer):
    """Refuses a message when it has the first bytes of it, and leaves without reading the rest."""

    def _converse(self, client: socket.socket, number: int, script: Script) -> None:
        stream = client.makefile("rb", buffering=0)
        while stream.readline() != b"DATA\r\n":
            client.sendall(b"250 ok\r\n")
        client.sendall(b"354 go\r\n")
        client.recv(10)
        client.sendall(b"552 too large\r\n")
        # With bytes unread, this resets the connection.
        stream.close()
        client.close()
