"""Limits of destinations: who waits, for how long, and who does not."""

import asyncio
import time

import pytest

from eqmail_core.formats.remote_limits import UNLIMITED, Limit
from eqmail_core.protocols.delivery_wire import Order
from eqmail_core.services.remote.delivery import RemoteDeliveries, Report
from eqmail_core.services.remote.turns import Turns
from eqmail_core.values.outcome import Temporary
from tests.net.scripted_server import PIPELINING, ScriptedServer
from tests.services.remote.remote_house import House

ONE = Limit(concurrency=1)


def order(number: int, recipient: bytes) -> Order:
    return Order(number, 1, b"", b"s@x", recipient)


def test_who_waits_is_called_in_order_and_others_pass_by() -> None:
    async def play() -> list[str]:
        turns = Turns(asyncio.get_running_loop())
        seen: list[str] = []

        async def deliver(name: str, host: bytes) -> None:
            await turns.take(host, ONE, 20)
            seen.append(name)
            await asyncio.sleep(0)
            turns.give_back(host, True, False)

        await turns.take(b"busy", ONE, 20)
        waiting = [asyncio.ensure_future(deliver(name, b"busy")) for name in "123"]
        await deliver("other", b"free")
        turns.give_back(b"busy", True, False)
        await asyncio.gather(*waiting)
        assert not turns._places
        assert not turns._waiting
        return seen

    assert asyncio.run(play()) == ["other", "1", "2", "3"]


def test_nobody_waits_for_long_and_less_when_most_places_are_taken() -> None:
    async def play() -> list[int]:
        turns = Turns(asyncio.get_running_loop(), wait_s=0.1, crowded_s=0.0)
        await turns.take(b"busy", ONE, 4)
        ended: list[int] = []

        async def wait(number: int) -> None:
            with pytest.raises(Temporary, match="Too much mail for busy at a time"):
                await turns.take(b"busy", ONE, 4)
            ended.append(number)

        await asyncio.gather(*[wait(number) for number in range(4)])
        turns.give_back(b"busy", False, False)
        assert not turns._places
        return ended

    assert asyncio.run(play()) == [2, 3, 0, 1]


def test_a_turn_that_came_too_late_goes_to_the_next() -> None:
    async def play() -> None:
        turns = Turns(asyncio.get_running_loop())
        await turns.take(b"busy", ONE, 20)
        first, second = (asyncio.ensure_future(turns.take(b"busy", ONE, 20)) for _ in range(2))
        await asyncio.sleep(0)
        turns.give_back(b"busy", True, False)
        first.cancel()
        await asyncio.wait_for(second, 1)
        assert first.cancelled()
        turns.give_back(b"busy", True, False)
        assert not turns._places

    asyncio.run(play())


def test_at_the_end_nobody_waits() -> None:
    async def play() -> None:
        turns = Turns(asyncio.get_running_loop())
        await turns.take(b"busy", ONE, 20)
        waiting = [asyncio.ensure_future(turns.take(b"busy", ONE, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        turns.close()
        assert [type(it) for it in await asyncio.gather(*waiting, return_exceptions=True)] == [Temporary] * 3
        with pytest.raises(Temporary):
            await turns.take(b"busy", ONE, 20)
        turns.give_back(b"busy", True, False)
        assert not turns._places

    asyncio.run(play())


def test_the_number_of_remembered_destinations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eqmail_core.services.remote.turns.MOST_KNOWN", 10)

    async def play() -> None:
        turns = Turns(asyncio.get_running_loop())
        for number in range(50):
            host = b"%d.test" % number
            await turns.take(host, UNLIMITED, 20)
            turns.give_back(host, False, True)
            assert len(turns._places) <= 10

    asyncio.run(play())


def test_a_limited_domain_gets_so_many_connections_and_no_other_is_delayed(house: House) -> None:
    async def play(deliveries: RemoteDeliveries) -> None:
        stuck = [asyncio.ensure_future(deliveries.deliver(order(n, b"r@Slow.test"), house.message)) for n in range(6)]
        await asyncio.to_thread(slow.wait_until_heard, b"EHLO me.test\r\n", 1)
        assert (await deliveries.deliver(order(9, b"r@one.test"), house.message))[0] == b"K"
        assert len(slow.heard) == 2
        for task in stuck:
            task.cancel()
        await asyncio.wait(stuck)
        assert not deliveries._turns._places

    house.control("remotelimits", "slow.test:concurrency=2")
    with (
        ScriptedServer(PIPELINING | {"ehlo": "!silent"}) as slow,
        ScriptedServer(PIPELINING, host="127.0.0.2") as server,
    ):
        house.control("smtproutes", f"slow.test:127.0.0.1:{slow.port}\n::{server.port}")
        house.run(play)


def test_a_connection_carries_as_many_messages_as_the_domain_may_get(house: House) -> None:
    house.control("remotelimits", "*:messages=2")
    with ScriptedServer(PIPELINING) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        assert {letter for letter, _ in house.deliver(*[b"a@y.test"] * 5)} == {b"K"}
        assert [heard.count(b"MAIL") for heard in server.heard] == [2, 2, 1]


def test_a_rate_is_kept(house: House) -> None:
    house.control("remotelimits", "*:rate=20/s")

    async def play(deliveries: RemoteDeliveries) -> float:
        start = time.monotonic()
        await asyncio.gather(*[deliveries.deliver(order(n, b"r@y.test"), house.message) for n in range(5)])
        return time.monotonic() - start

    with ScriptedServer(PIPELINING) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        assert house.run(play) >= 0.19
        assert server.messages == 5


@pytest.mark.parametrize("script", [{"greet": "421 busy"}, {"rcpt": "451 4.7.1 slower"}, {"mail": "450 later"}])
def test_a_domain_that_has_enough_is_given_a_pause(script: dict[str, str], house: House) -> None:
    async def play(deliveries: RemoteDeliveries) -> Report:
        first = await deliveries.deliver(order(1, b"r@y.test"), house.message)
        start = time.monotonic()
        deliveries._turns._wait_s = 0.05
        second = await deliveries.deliver(order(2, b"r@y.test"), house.message)
        assert time.monotonic() - start < 0.9
        assert second == (b"Z", b"Too much mail for y.test at a time; this one has to wait. (#4.4.5)\n")
        return first

    with ScriptedServer(PIPELINING | script) as server:
        house.control("smtproutes", f":127.0.0.1:{server.port}")
        assert house.run(play)[0] in b"ZD"
        assert len(server.heard) == 1
