"""An SMTP server that accepts, defers, refuses, is slow, or disconnects at any stage, and records what it accepts."""

import asyncio
import random
import re
import threading
import time
from typing import NamedTuple

from tests.reliability.messages import look_at

DELIVERED, BROKEN_OFF, DEFERRED, BOUNCED = "delivered", "broken off", "deferred", "bounced"
ACCEPT, DEFER, MIXED = "accept", "defer", "mixed"
IDLE_S = 120

# Percentages of the actions of a mixed sink at a stage; the rest is accepted.
TROUBLE: dict[str, dict[str | bytes, int]] = {
    "connect": {"hang up": 2, "slow": 2, b"421 busy": 2},
    "greeting": {"hang up": 1},
    "sender": {"hang up": 2, b"451 later": 2},
    "recipient": {"hang up": 2, b"450 later": 8, b"550 no such user": 7},
    "data": {"hang up": 2, "slow": 2},
    "body": {"hang up": 2},
    "end": {"hang up": 3, b"451 later": 5, b"554 no": 4, "slow": 2},
    "quit": {"hang up": 5},
}


class Delivery(NamedTuple):
    """What happened to one recipient's message here, when (time.monotonic), and which message it was.

    `client`: the address that it came from.
    """

    time: float
    verdict: str
    address: str
    identifier: str
    whole: bool
    client: str = ""


class _HangUp(Exception):
    """The sink closes the connection."""


class Sink:
    """The server, in a thread of its own, as a context; `mode` may be changed at any time."""

    def __init__(self, port: int, seed: int, mode: str = MIXED, address: str = "127.0.0.1") -> None:
        self.port = port
        self._address = address
        self.mode = mode
        self.deliveries: list[Delivery] = []
        self._rng = random.Random(f"{seed} sink")
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="sink", daemon=True)

    def __enter__(self) -> "Sink":
        self._thread.start()
        if not self._ready.wait(30):
            raise OSError(f"the sink does not listen on port {self.port}")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._client, self._address, self.port, backlog=200, limit=1 << 20)
        )
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (_HangUp, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        finally:
            writer.close()

    async def _trouble(self, stage: str) -> bytes | None:
        """The refusal that is due at a stage, or None; waits or hangs up where that is due."""
        if self.mode != MIXED:
            return None
        kinds = TROUBLE[stage]
        kind = self._rng.choices([None, *kinds], [100 - sum(kinds.values()), *kinds.values()])[0]
        if kind == "hang up":
            raise _HangUp
        if kind == "slow":
            await asyncio.sleep(self._rng.random() * 3)
            return None
        return kind if isinstance(kind, bytes) else None

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def line() -> bytes:
            text = await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)
            return text.rstrip(b"\r\n")

        async def say(text: bytes) -> None:
            writer.write(text + b"\r\n")
            await writer.drain()

        client: str = writer.get_extra_info("peername")[0]
        if refusal := await self._trouble("connect"):
            return await say(refusal)
        await say(b"220 sink ESMTP")
        addresses: list[str] = []
        while True:
            command = await line()
            match command[:4].upper():
                case b"EHLO" | b"HELO":
                    await self._trouble("greeting")
                    await say(b"250 sink")
                case b"MAIL":
                    addresses = []
                    refusal = b"451 later" if self.mode == DEFER else await self._trouble("sender")
                    await say(refusal or b"250 ok")
                case b"RCPT":
                    address = command[command.index(b"<") + 1 : command.rindex(b">")].decode()
                    refusal = await self._trouble("recipient")
                    if refusal is None:
                        addresses.append(address)
                    elif refusal.startswith(b"5"):
                        self._note(BOUNCED, address, "", True, client)
                    await say(refusal or b"250 ok")
                case b"DATA" if addresses:
                    await self._trouble("data")
                    await say(b"354 go on")
                    await self._trouble("body")
                    await say(await self._message(addresses, await self._body(reader), client))
                case b"DATA":
                    await say(b"503 no recipients")
                case b"RSET":
                    addresses = []
                    await say(b"250 ok")
                case b"QUIT":
                    await self._trouble("quit")
                    return await say(b"221 bye")
                case _:
                    await say(b"500 what")

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        lines: list[bytes] = []
        while (text := await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_S)) != b".\r\n":
            lines.append(text.removeprefix(b"."))
        return b"".join(lines).replace(b"\r\n", b"\n")

    async def _message(self, addresses: list[str], body: bytes, client: str) -> bytes:
        """Take note of a message; the answer to its final dot."""
        seen = look_at(body)
        identifier, whole = seen or ("", False)
        verdict, refusal = DELIVERED, None
        try:
            refusal = await self._trouble("end")
        except _HangUp:
            verdict = BROKEN_OFF
        if refusal:
            verdict = DEFERRED if refusal.startswith(b"4") else BOUNCED
        for address in addresses:
            self._note(verdict, address, identifier, whole, client)
        if verdict == BROKEN_OFF:
            raise _HangUp
        return refusal or b"250 ok"

    def _note(self, verdict: str, address: str, identifier: str, whole: bool, client: str) -> None:
        self.deliveries.append(Delivery(time.monotonic(), verdict, address, identifier, whole, client))


def meant_for(address: str) -> str:
    """The identifier of the one message that may arrive at an address of the sink."""
    found = re.match(r"r\d+-(.*)@", address)
    return found[1] if found else ""
