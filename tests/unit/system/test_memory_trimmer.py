"""Memory is given back after a burst, once, and never while the burst lasts."""

import asyncio

import pytest

from eqmail_core.event_loop import memory_trimmer as tidying


@pytest.mark.parametrize(
    ("held", "given_back"),
    [
        ([0, 0, 0], 0),
        ([400, 0, 0], 0),
        ([900, 800, 700], 0),
        ([900, 100, 100, 100], 1),
        ([900, 0, 900, 0], 2),
    ],
)
def test_memory_is_given_back_after_a_burst(held: list[int], given_back: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    monkeypatch.setattr(tidying, "_LOOK_S", 0.0)
    monkeypatch.setattr(tidying, "trim_memory", lambda: calls.append(None))
    left = list(held)
    loop = asyncio.new_event_loop()

    def next_count() -> int:
        if len(left) == 1:
            loop.stop()
        return left.pop(0) if left else held[-1]

    tidying.MemoryTrimmer(loop, next_count)
    loop.run_forever()
    loop.close()
    assert len(calls) == given_back
