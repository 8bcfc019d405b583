"""A milter in a thread that does what a test wants, on a Unix or a TCP socket; it knows no library."""

import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

CONTINUE = b"c"
Answer = bytes | list[bytes] | Callable[[socket.socket], None] | None


def packet(letter: bytes, payload: bytes = b"") -> bytes:
    """A packet on the wire."""
    return struct.pack("!I", len(payload) + 1) + letter + payload


def agreement(version: int = 6, actions: int = 0x1FF, steps: int = 0) -> bytes:
    """The negotiation reply of a milter; all changes by default."""
    return b"O" + struct.pack("!III", version, actions, steps)


class ScriptedMilter:
    """Answers by command letter: an answer is a letter with payload, several of them, or a function with the socket.

    None: no reply.  What is not in `script` is answered by CONTINUE.  `received` is everything sent to it, a list
    for each connection.
    """

    def __init__(self, address: str = "", steps: int = 0, version: int = 6, actions: int = 0x1FF) -> None:
        self.script: dict[bytes, Answer] = {
            b"O": agreement(version, actions, steps),
            b"D": None,
            b"A": None,
            b"Q": None,
        }
        self.received: list[list[tuple[bytes, bytes]]] = []
        if address:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(address)
            self.listener.listen()
            self.address = f"unix:{address}"
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"inet:127.0.0.1:{self.listener.getsockname()[1]}"
        self.ended = threading.Semaphore(0)
        self._connections: list[socket.socket] = []

    def __enter__(self) -> "ScriptedMilter":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # its thread has closed it

    def letters(self, connection: int = 0) -> bytes:
        """What was asked on a connection, without macros."""
        return b"".join(letter for letter, _ in self.received[connection] if letter != b"D")

    def payloads(self, letter: bytes, connection: int = 0) -> list[bytes]:
        """What came with a letter."""
        return [payload for other, payload in self.received[connection] if other == letter]

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self.received.append([])
            threading.Thread(target=self._serve, args=(connection, self.received[-1]), daemon=True).start()

    def _serve(self, connection: socket.socket, received: list[tuple[bytes, bytes]]) -> None:
        stream = connection.makefile("rb")
        try:
            while len(length := stream.read(4)) == 4:
                text = stream.read(struct.unpack("!I", length)[0])
                received.append((text[:1], text[1:]))
                self._answer(connection, text[:1])
        except (OSError, ValueError):
            pass
        finally:
            stream.close()
            connection.close()
            self.ended.release()

    def _answer(self, connection: socket.socket, letter: bytes) -> None:
        answer = self.script.get(letter, CONTINUE)
        if answer is None:
            return
        if callable(answer):
            answer(connection)
            return
        for one in [answer] if isinstance(answer, bytes) else answer:
            connection.sendall(packet(one[:1], one[1:]))
