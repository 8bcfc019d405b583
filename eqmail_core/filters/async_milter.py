"""The connection of the resident service to a milter, on its event loop."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eqmail_core.filters.milter_filter import MilterAddress

_RECEIVE = 65536


class AsyncMilterConnection:
    """A `MilterConnection` whose coroutines suspend."""

    __slots__ = ("_reader", "_writer")

    def __init__(self) -> None:
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._writer is not None

    async def connect(self, address: "MilterAddress", timeout_s: float) -> None:
        """Connect.  Fails: OSError, TimeoutError."""
        where, port = address
        async with asyncio.timeout(timeout_s):
            if port:
                self._reader, self._writer = await asyncio.open_connection(where, port)
            else:
                self._reader, self._writer = await asyncio.open_unix_connection(where)

    async def send(self, data: bytes, timeout_s: float) -> None:
        """Send all bytes.  Fails: OSError, TimeoutError."""
        assert self._writer is not None
        self._writer.write(data)
        async with asyncio.timeout(timeout_s):
            await self._writer.drain()

    async def receive(self, timeout_s: float) -> bytes:
        """Receive some bytes, b"" at the end of the connection.  Fails: OSError, TimeoutError."""
        assert self._reader is not None
        async with asyncio.timeout(timeout_s):
            return await self._reader.read(_RECEIVE)

    def close(self, last: bytes) -> None:
        """Send the last bytes, and close."""
        writer, self._writer, self._reader = self._writer, None, None
        if writer is None:
            return
        if last:
            writer.write(last)
        writer.close()
