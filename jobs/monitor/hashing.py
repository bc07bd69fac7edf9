"""64-bit hashes of columns, a few passes of NumPy each. Stable across machines and versions: sketches that
were made apart must merge, so that Python's own `hash` (salted) will not do."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa

from jobs.monitor.buffers import scratch, text_buffers

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_FOLD, _MIDDLE = np.uint64(32), np.uint64(29)
_BASE = 0x9E3779B97F4A7C15  # odd: every power has an inverse modulo 2^64
_BASE_INVERSE = pow(_BASE, -1, 1 << 64)
_PIECE = 1 << 15  # bytes of text at a time


def multiplier(name: str) -> np.uint64:
    """An odd factor of a column's own: rows are hashed as the sum of factor times value over columns
    (multilinear hashing: Dietzfelbinger 1996, doi 10.1007/3-540-60922-9_46)."""
    return np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little") | 1)


def spread(bits: np.ndarray, factor: np.uint64, out: np.ndarray | None = None) -> np.ndarray:
    """Step one, of uint64: what stands in the high bits (floats of small integers have nothing else) comes
    down, then the product carries it over the whole word."""
    folded = np.right_shift(bits, _FOLD, out=out)
    np.bitwise_xor(folded, bits, out=folded)
    return np.multiply(folded, factor, out=folded)


def finish(spreaded: np.ndarray) -> np.ndarray:
    """Step two, in place: the second half of splitmix64's finaliser (Steele, Lea, Flood 2014,
    doi 10.1145/2660193.2660195). The product of step one took the place of the first."""
    shifted = np.right_shift(spreaded, _MIDDLE, out=scratch(len(spreaded), "shifted").view(np.uint64))
    np.bitwise_xor(spreaded, shifted, out=spreaded)
    np.multiply(spreaded, _SECOND, out=spreaded)
    np.right_shift(spreaded, _FOLD, out=shifted)
    return np.bitwise_xor(spreaded, shifted, out=spreaded)


def hash_text(values: pa.Array, factor: np.uint64) -> np.ndarray:
    """uint64 per string: the polynomial of its bytes in `_BASE` modulo 2^64, its length and the finaliser. A
    null hashes as the empty string."""
    offsets, data = text_buffers(values)
    hashes = np.empty(len(values), np.uint64)
    first = 0
    while first < len(values):
        last = max(first + 1, int(np.searchsorted(offsets, offsets[first] + _PIECE, "right")) - 1)
        bounds = offsets[first : last + 1] - offsets[first]
        hashes[first:last] = _polynomials(bounds, data[offsets[first] : offsets[last]])
        first = last
    return finish(spread(hashes, factor) + np.diff(offsets).astype(np.uint64))


def _polynomials(bounds: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Of every string, from one running sum over all bytes: its share, over the power at which it starts."""
    powers, inverses = _powers(len(data) + 1)
    running = np.zeros(len(data) + 1, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers[: len(data)], out=running[1:])
    return (running[bounds[1:]] - running[bounds[:-1]]) * inverses[bounds[:-1]]


def splitmix(seed: int) -> int:
    """One step of splitmix64 on a Python integer: a seed for what must be the same every time."""
    mixed = (seed + 0x9E3779B97F4A7C15) % (1 << 64)
    mixed = ((mixed ^ (mixed >> 30)) * int(_FIRST)) % (1 << 64)
    mixed = ((mixed ^ (mixed >> 27)) * int(_SECOND)) % (1 << 64)
    return mixed ^ (mixed >> 31)


_known_powers: tuple[np.ndarray, np.ndarray] = (np.ones(1, np.uint64), np.ones(1, np.uint64))


def _powers(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `size` powers of the base and of its inverse; kept, as every batch asks for them."""
    global _known_powers
    if len(_known_powers[0]) < size:
        length = 1 << max(size - 1, 1).bit_length()
        _known_powers = tuple(
            np.concatenate(([np.uint64(1)], np.cumprod(np.full(length, base, np.uint64))))
            for base in (_BASE, _BASE_INVERSE)
        )
    return _known_powers
