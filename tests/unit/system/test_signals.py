"""Signals on an event loop."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import uvloop

from eqmail_core.event_loop.signals import install_signal_handlers


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_signal_before_the_loop_runs_is_not_lost(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = new_loop()
    reported = []
    try:
        install_signal_handlers(loop, {signal.SIGUSR1: lambda: (reported.append("told"), loop.stop())[0]})
        os.kill(os.getpid(), signal.SIGUSR1)
        assert not reported
        loop.call_later(20, loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert reported == ["told"]


@pytest.mark.parametrize("new_loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_signal_while_the_loop_runs_is_delivered_once(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    loop = new_loop()
    reported = []
    try:
        install_signal_handlers(loop, {signal.SIGUSR1: lambda: reported.append("told")})
        loop.call_later(0.01, os.kill, os.getpid(), signal.SIGUSR1)
        loop.call_later(0.3, loop.stop)
        loop.run_forever()
    finally:
        loop.close()
    assert reported == ["told"]
