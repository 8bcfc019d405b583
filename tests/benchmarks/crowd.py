#!/usr/bin/env python3
"""How long a normal client takes while a crowd is there: clients that say nothing, and some that say a byte a second.

usage: crowd.py PORT RECIPIENT [--idle 500] [--dribbling 200] [--messages 200] [--pause 0.05]
One session per message, one after the other; milliseconds from connecting to the answer to QUIT. Two lines: alone, in
the crowd. The server has to let so many in (here: control/smtpconcurrency, and 0 in smtpperaddress).
"""

import argparse
import asyncio
import itertools
import statistics
import time

PLUGIN_OUTPUT = b"EHLO crowd.test\r\nMAIL FROM:<>\r\n" + b"X-Slow: yes\r\n" * 1000


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("recipient")
    parser.add_argument("--idle", type=int, default=500)
    parser.add_argument("--dribbling", type=int, default=200)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.05)
    words = parser.parse_args()
    print("alone:   ", await measure(words))
    crowd = [await greeted(words.port) for _ in range(words.idle + words.dribbling)]
    dribblers = [asyncio.create_task(dribble(writer)) for _, writer in crowd[words.idle :]]
    await asyncio.sleep(2)
    print("in crowd:", await measure(words))
    assert not any(task.done() for task in dribblers), "somebody of the crowd was sent away"
    for task in dribblers:
        task.cancel()
    for _, writer in crowd:
        writer.close()


async def greeted(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = await reader.readline()
    if not line.startswith(b"220 "):
        raise SystemExit(f"not let in: {line.decode().strip()}")
    return reader, writer


async def dribble(writer: asyncio.StreamWriter) -> None:
    for place in itertools.count():
        writer.write(PLUGIN_OUTPUT[place : place + 1])
        await writer.drain()
        await asyncio.sleep(1)


async def measure(words: argparse.Namespace) -> str:
    took = []
    for _ in range(words.messages):
        begun = time.perf_counter()
        reader, writer = await greeted(words.port)
        text = f"HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<{words.recipient}>\r\nDATA\r\n"
        writer.write(text.encode())
        for _ in range(4):
            line = await reader.readline()
        assert line.startswith(b"354"), line
        writer.write(b"Subject: crowd\r\n\r\nhello\r\n.\r\nQUIT\r\n")
        assert (line := await reader.readline()).startswith(b"250"), line
        await reader.read()
        writer.close()
        took.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(words.pause)
    took.sort()
    return f"p50 {statistics.median(took):.1f} ms, p99 {took[int(len(took) * 0.99)]:.1f} ms, max {took[-1]:.1f} ms, of {len(took)}"


if __name__ == "__main__":
    asyncio.run(main())
