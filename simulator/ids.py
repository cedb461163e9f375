"""Ids as text, made in bulk: every one is distinct because it comes from a bijection of its index."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_HEX = np.array([f"{i:02x}" for i in range(256)], dtype="S2")
PHONE_PREFIX = "160"
"""A number range that no mobile operator in China has been given, so that no made-up number reaches a person."""
PHONES = 100_000_000


def _mixed(numbers: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """splitmix64: a bijection of 64 bits."""
    with np.errstate(over="ignore"):
        x = numbers + np.uint64(salt & 0xFFFFFFFFFFFFFFFF)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hex_ids(prefix: str, seed: int, n: int) -> pa.StringArray:
    """``n`` ids of the form prefix + 16 hexadecimal digits."""
    salt = (seed * 0x9E3779B97F4A7C15 + sum(prefix.encode()) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    raw = _mixed(np.arange(n, dtype=np.uint64), salt)
    digits = _HEX[raw.astype(">u8").view(np.uint8).reshape(n, 8)].tobytes()
    offsets = np.arange(n + 1, dtype=np.int32) * 16
    plain = pa.StringArray.from_buffers(n, pa.py_buffer(offsets), pa.py_buffer(digits))
    return pc.binary_join_element_wise(prefix, plain, "")


def numbered(prefix: str, numbers: NDArray[np.int64], width: int) -> pa.StringArray:
    """prefix + number padded with zeros to ``width``."""
    padded = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, padded, "")


def phone_numbers(seed: int, n: int) -> pa.StringArray:
    """``n`` distinct made-up mobile numbers of eleven digits."""
    if n > PHONES:
        raise ValueError(f"{n:,} phones wanted; the made-up range has {PHONES:,}")
    # the factor shares no divisor with 10^8, so no number comes twice
    scattered = (np.arange(n, dtype=np.int64) * 38_462_647 + seed * 7919) % PHONES
    return numbered(PHONE_PREFIX, scattered, 8)


def coded(values: pa.Array, codes: NDArray[np.integer]) -> pa.DictionaryArray:
    """Text column from codes into ``values``; -1 is null. Kept coded: a log row then costs four bytes an id."""
    codes = codes.astype(np.int32, copy=False)
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), values)
