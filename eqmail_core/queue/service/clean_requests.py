"""The requests of qmail-clean that the scheduler sends: removing files of messages, in the order of the requests.

Fails: never; what cannot be removed is answered so.
"""

from collections import deque
from collections.abc import Callable
from functools import partial

from eqmail_core.queue.filesystem import FileSystem
from eqmail_core.queue.service.accepted_message import REMOVING, AcceptedMessage
from eqmail_core.queue.service.file_writer import FileWriter
from eqmail_core.queue.spool import clean
from eqmail_core.site.layout import QueuePaths


class CleanRequests:
    """The requests that are not answered yet; `message(number)`: what the journal has of a number.

    A request about a message whose tombstone is not on the disk waits for `resume`; `hasten()` has it written.
    """

    def __init__(
        self,
        disk: FileSystem,
        paths: QueuePaths,
        files: FileWriter,
        message: Callable[[int], AcceptedMessage | None],
        hasten: Callable[[], None],
    ) -> None:
        self._disk = disk
        self._paths = paths
        self._files = files
        self._message = message
        self._hasten = hasten
        self._waiting: deque[tuple[bytes, Callable[[bytes], None]]] = deque()

    def add(self, request: bytes, answer: Callable[[bytes], None]) -> None:
        """Do what qmail-clean does, after earlier requests; `answer` gets one byte."""
        self._waiting.append((request, answer))
        if len(self._waiting) == 1:
            self.resume()

    def resume(self) -> None:
        """Go on with the requests that can be done now."""
        while self._waiting:
            request, answer = self._waiting[0]
            digits = request.rpartition(b"/")[2]
            message = self._message(int(digits)) if digits.isdigit() else None
            if message is not None and message.state == REMOVING:
                self._hasten()
                return
            self._waiting.popleft()
            job: Callable[[], bytes] = partial(clean, self._disk, self._paths, request)
            if message is not None and request.startswith(b"foop"):
                # The journal relies on mess/N: it must not be removed on anyone's request.  The answer takes the same
                # way as those of earlier requests, because it is known as theirs by its place only.
                job = _refuse
            self._files.run(job, partial(_answer, answer))


def _answer(answer: Callable[[bytes], None], result: object, error: OSError | None) -> None:
    answer(result[:1] if isinstance(result, bytes) else b"!")


def _refuse() -> bytes:
    return b"!"
