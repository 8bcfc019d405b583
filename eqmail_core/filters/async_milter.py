"""Milters queried by the resident service on its event loop, without blocking."""

import asyncio
from collections.abc import Callable

from eqmail_core.control.filter_entries import FilterEntry
from eqmail_core.filters.milter.client import MilterClient
from eqmail_core.filters.milter_filter import CONNECT, LIMIT_S, MilterFilter, MilterHealth
from eqmail_core.filters.verdict import FilterQuery, FilterVerdict

_RECEIVE = 65536


class AsyncMilter(MilterFilter):
    """A milter on its own connection."""

    __slots__ = ("_loop", "_reader", "_task", "_writer")

    def __init__(self, entry: FilterEntry, health: MilterHealth, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(entry, health)
        self._loop = loop
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    def ask(self, question: FilterQuery, done: Callable[[FilterVerdict], None]) -> None:
        """Query the milter.

        `done` is called later, never from within this call, and not after `close`.
        """
        self._task = self._loop.create_task(self._ask(question, done))

    def close(self) -> None:
        """End the session."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self.discard_body()
        self._hang_up()

    async def _ask(self, question: FilterQuery, done: Callable[[FilterVerdict], None]) -> None:
        steps = self.start(question)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                self._task = None
                self._loop.call_soon(done, end.value)
                return
            assert self.client is not None
            try:
                async with asyncio.timeout(self.timeout_s if step == CONNECT else LIMIT_S):
                    if step == CONNECT:
                        self._hang_up()
                        await self._connect()
                    elif self._reader is not None and self._writer is not None:
                        await self._talk(self.client, self._reader, self._writer)
            except TimeoutError:
                self.client.give_up(f"no answer for {self.timeout_s} seconds")
            except OSError as error:
                self.client.give_up(error.strerror or str(error))
            if self.client.problem:
                self._hang_up()
                self.discard_body()

    async def _connect(self) -> None:
        if self.address is None:
            raise OSError("not an address such as unix:/run/milter.sock or inet:127.0.0.1:11332")
        where, port = self.address
        if port:
            self._reader, self._writer = await asyncio.open_connection(where, port)
        else:
            self._reader, self._writer = await asyncio.open_unix_connection(where)

    async def _talk(self, client: MilterClient, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Exchange packets until the question is answered.  Fails: OSError, TimeoutError."""
        while not client.problem:
            while output := client.take_output():
                writer.write(output)
                async with asyncio.timeout(self.timeout_s):
                    await writer.drain()
            if client.answer is not None:
                return
            replies = client.replies
            async with asyncio.timeout(self.timeout_s):
                while client.replies == replies and client.answer is None:
                    data = await reader.read(_RECEIVE)
                    if not data:
                        raise OSError("it closed the connection")
                    client.receive(data)
                    self.finish()

    def _hang_up(self) -> None:
        writer, self._writer, self._reader = self._writer, None, None
        if writer is None:
            return
        if self.client is not None and not self.client.problem:
            self.client.quit()
            writer.write(self.client.take_output())
        writer.close()
