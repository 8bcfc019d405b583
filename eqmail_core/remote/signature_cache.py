"""Signatures of the last messages that a remote service has sent: one RSA operation, however many recipients.

Fails: as `signing.steps_of_signing`; a failure is not kept.
"""

import asyncio
import os

from eqmail_core.remote.signing import OriginRules, steps_of_signing
from eqmail_core.remote.signing_keys import SigningKeys
from eqmail_core.system.message_file import MessageFile, MessageUnreadable

MAX_MESSAGES = 64
"""Most messages whose signatures are kept."""

_Identity = tuple[int, int, int, int, int]


class SignatureCache:
    """The signatures of messages, each made by the first delivery that needs it."""

    def __init__(self, control: str) -> None:
        self._keys = SigningKeys(control)
        self._known: dict[_Identity, asyncio.Task[bytes]] = {}

    async def signatures(self, origin: OriginRules, number: int, message: int) -> bytes:
        """Return the signature fields of the message behind a descriptor, b"" for none.

        `number`: of the message in the queue.
        """
        if not self._keys.exist():
            return b""
        identity = (number, *_identity(message))
        task = self._known.get(identity)
        if task is None:
            # Of its own: the delivery may be cancelled while others wait for this.
            own = os.dup(message)
            task = asyncio.get_running_loop().create_task(self._sign(origin, own))
            task.add_done_callback(lambda task: self._ended(identity, own, task))
            self._known[identity] = task
            while len(self._known) > MAX_MESSAGES:
                del self._known[next(iter(self._known))]
        return await asyncio.shield(task)

    async def _sign(self, origin: OriginRules, message: int) -> bytes:
        for found in steps_of_signing(origin, self._keys, MessageFile(message)):
            if found is not None:
                return found
            await asyncio.sleep(0)
        return b""

    def _ended(self, identity: _Identity, own: int, task: "asyncio.Task[bytes]") -> None:
        os.close(own)
        if (task.cancelled() or task.exception() is not None) and self._known.get(identity) is task:
            del self._known[identity]


def _identity(message: int) -> tuple[int, int, int, int]:
    try:
        found = os.fstat(message)
    except OSError as error:
        raise MessageUnreadable(error.strerror) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
