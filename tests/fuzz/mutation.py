"""Inputs made from inputs, without knowing anything about them; for interpreters that have no atheris."""

import random
from collections.abc import Iterator

_EDGES = (
    b"\0",
    b"\n",
    b"\r\n",
    b"\r",
    b".",
    b"\xff",
    b" ",
    b":",
    b"9" * 30,
    b"-1",
    b"<",
    b">",
    b"@",
    b'"',
    b"(",
    b"\\",
)


def mutations(seeds: list[bytes], chance: random.Random) -> Iterator[bytes]:
    """Endlessly many inputs, each some steps away from a seed."""
    known = seeds or [b""]
    while True:
        data = bytearray(chance.choice(known))
        for _ in range(chance.randint(1, 8)):
            start = chance.randint(0, len(data))
            end = min(len(data), start + chance.choice((0, 1, 1, 2, 8, 64)))
            step = chance.randrange(6)
            if step == 0:
                del data[start:end]
            elif step == 1:
                data[start:end] = chance.choice(_EDGES)
            elif step == 2:
                data[start:start] = data[start:end] * chance.choice((1, 2, 200))
            elif step == 3:
                data[start:end] = chance.randbytes(end - start)
            elif step == 4 and end > start:
                data[start] ^= 1 << chance.randrange(8)
            else:
                other = chance.choice(known)
                data[start:] = other[chance.randint(0, len(other)) :]
        yield bytes(data)
