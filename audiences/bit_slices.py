"""Making a column of bits from a column of values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from audiences.bits import BitColumn, Bits, Value, everybody, packed
from audiences.evaluate import UNKNOWN
from schemas.arrow import ARROW
from schemas.contracts import Type

BLOCK = 1 << 16
"""Users whose numbers are cut into planes at a time: what they take stays in the processor's cache."""
_WIDTHS = {"bool": np.uint8, "int32": np.int32, "int64": np.int64, "date": np.int32}


def encoded(column: pa.ChunkedArray, kind: Type) -> BitColumn:
    """A column of the profile, its values in the order of the users.

    Absent is what a comparison takes for absent: null, not a number, and the text ``unknown``.
    """
    if kind in _WIDTHS:
        column = column.cast(pa.uint8() if kind == "bool" else ARROW[kind])
        return sliced(_values(column, _WIDTHS[kind]), _known(pc.is_valid(column)))
    if not len(column):
        return BitColumn(np.zeros(0, np.uint64), (), 0, [])
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    whole = column.unify_dictionaries().combine_chunks()
    texts = whole.dictionary.to_pylist()
    # not a number is unlike itself
    held = sorted({t for t in texts if t is not None and t == t and t != UNKNOWN})
    place = {text: i for i, text in enumerate(held)}
    ranks = np.fromiter((place.get(t, -1) for t in texts), np.int64, len(texts))
    known = _known(pc.is_valid(whole))
    numbers = np.full(len(whole), -1, np.int64)
    at = _values(whole.indices, np.dtype(str(whole.indices.type)))
    if len(ranks):
        there = slice(None) if known is None else known
        numbers[there] = ranks[at[there]]
    known = numbers >= 0
    return sliced(numbers, None if known.all() else known, held)


def _known(valid: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_] | None:
    """A flag per user; None for all."""
    flags = _values(valid.cast(pa.uint8()), np.uint8).view(np.bool_)
    return None if flags.all() else flags


def _values(column: pa.ChunkedArray | pa.Array, kind: Any) -> npt.NDArray[Any]:
    """The buffer of a column of fixed width, whatever stands under its nulls. By the buffer: ``to_numpy`` imports pandas."""
    dtype = np.dtype(kind)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = [
        np.frombuffer(c.buffers()[1], dtype, len(c), c.offset * dtype.itemsize) if len(c) else np.empty(0, dtype)
        for c in chunks
    ]
    return found[0] if len(found) == 1 else np.concatenate([np.empty(0, dtype), *found])


def sliced(
    numbers: npt.NDArray[Any], known: npt.NDArray[np.bool_] | None, values: Sequence[Value] | None = None
) -> BitColumn:
    """A column from whole numbers per user, or from places among ``values``; what stands under an absent value is ignored.

    ``known`` absent: everybody has a value.
    """
    there = numbers if known is None else numbers[known]
    if not len(there):
        return BitColumn(np.zeros(-(-len(numbers) // 64), np.uint64), (), 0, values)
    low = 0 if values is not None else int(there.min())
    most = int(there.max()) - low
    kind = next(k for k in (np.uint8, np.uint16, np.uint32, np.uint64) if most <= np.iinfo(k).max)
    # Modulo 2^64 the difference is right even where it does not fit in 63 bits.
    above = (numbers.astype(np.int64).view(np.uint64) - np.uint64(low % 2**64)).astype(kind)
    if known is not None:
        above[~known] = 0
    planes = _planes(above, most.bit_length())
    return BitColumn(everybody(len(numbers)) if known is None else packed(known), planes, low, values)


def _planes(numbers: npt.NDArray[Any], bits: int) -> list[Bits]:
    found = [np.zeros(-(-len(numbers) // 64), np.dtype("<u8")) for _ in range(bits)]
    width = numbers.dtype.itemsize
    for start in range(0, len(numbers), BLOCK):
        block = numbers[start : start + BLOCK].view(np.uint8).reshape(-1, width)
        for byte in range(-(-bits // 8)):
            column = np.ascontiguousarray(block[:, byte])
            for bit in range(8 * byte, min(8 * byte + 8, bits)):
                cut = np.packbits(column & np.uint8(1 << bit % 8), bitorder="little")
                found[bit].view(np.uint8)[start // 8 : start // 8 + len(cut)] = cut
    return found
