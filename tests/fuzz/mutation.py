"""Mutations of the sensitive parts of formats: sizes, offsets and counts, which are whole words."""

from __future__ import annotations

import random

_EXTREMES = (0, 1, 2, 7, 8, 63, 64, 127, 128, 255, 256, 4095, 4096, 65535, 65536)
_POWERS = (31, 32, 47, 62, 63, 64)


def mutate_words(data: bytes, seed: int) -> bytes:
    """The data with one to four aligned words changed; the length stays."""
    rng = random.Random(seed)
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        size = rng.choice((1, 2, 4, 4, 8, 8))
        if len(out) < size:
            return bytes(out)
        at = rng.randrange(len(out) // size) * size
        old = int.from_bytes(out[at : at + size], "little")
        value = _word(rng, old, out, size) % (1 << 8 * size)
        out[at : at + size] = value.to_bytes(size, "little")
    return bytes(out)


def _word(rng: random.Random, old: int, data: bytearray, size: int) -> int:
    near = rng.choice((-8, -4, -1, 0, 1, 4, 8))
    match rng.randrange(6):
        case 0:
            return old + rng.choice((-64, -8, -4, -1, 1, 4, 8, 64))
        case 1:
            return rng.choice(_EXTREMES)
        case 2:
            return (1 << rng.choice(_POWERS)) + near
        case 3:
            return len(data) + near
        case 4:  # the value of another word: offsets that cross, sizes of another part
            at = rng.randrange(len(data) // size) * size
            return int.from_bytes(data[at : at + size], "little") + near
        case _:
            return old << 1 if rng.randrange(2) else -old
