"""Coroutines of programs run without an event loop."""

import asyncio
from concurrent.futures import Future

import pytest

from eqmail_core.coroutines import run_blocking


async def answer() -> int:
    async def inner() -> int:
        return 41

    return await inner() + 1


async def fail() -> None:
    raise OSError("no")


def test_the_result_and_the_failure_are_those_of_the_coroutine() -> None:
    assert run_blocking(answer()) == 42
    with pytest.raises(OSError, match="no"):
        run_blocking(fail())


def test_a_coroutine_that_suspends_is_a_mistake_and_is_closed() -> None:
    closed = []

    async def suspend() -> None:
        try:
            await asyncio.sleep(0)
        finally:
            closed.append(True)

    with pytest.raises(RuntimeError, match="suspended"):
        run_blocking(suspend())
    assert closed == [True]


def test_the_same_coroutine_runs_on_a_loop() -> None:
    done: Future[int] = Future()
    done.set_result(asyncio.run(answer()))
    assert done.result() == 42
