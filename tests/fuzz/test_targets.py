"""Every fuzz target takes its seeds, the inputs that once failed, and a few hundred others."""

import random
from itertools import islice
from pathlib import Path

import pytest

from tests.fuzz.mutation import mutations
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

KEPT = sorted((Path(__file__).parent / "regressions").glob("*/*"))


@pytest.mark.parametrize("name", TARGETS)
def test_the_target_takes_seeds_and_their_neighbours(name: str) -> None:
    known = seeds()[name]
    for data in [b"", *known, *islice(mutations(known, random.Random(7)), 200)]:
        TARGETS[name](data)


def test_every_seed_has_its_target() -> None:
    assert set(seeds()) == set(TARGETS)


def test_recorded_regressions_pass() -> None:
    for path in KEPT:
        TARGETS[path.parent.name](path.read_bytes())
