"""Between Arrow and numpy, by their buffers.

pyarrow's own ``to_numpy``, ``array`` and ``fill_null`` import pandas on first use, which costs every worker half a second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa


def from_arrow(column: pa.ChunkedArray | pa.Array, dtype: np.dtype, absent: int | None, name: str) -> np.ndarray:
    """A column of numbers, days, stamps or booleans as an array of ``dtype``, without a copy where types allow it.

    Days are day numbers since 1970, stamps microseconds. ``absent`` stands for nulls; without one a null is a
    ValueError that names the column.
    """
    if column.null_count and absent is None:
        raise ValueError(f"activity column {name!r} holds nulls; it is required")
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    if len(chunks) == 1 and not column.null_count and (whole := _plain(chunks[0])).dtype == dtype:
        return whole
    out = np.empty(len(column), dtype)
    start = 0
    for chunk in chunks:
        here = out[start : start + len(chunk)]
        start += len(chunk)
        if chunk.null_count == len(chunk):
            here[:] = absent or 0
            continue
        here[:] = _plain(chunk)
        if chunk.null_count:
            here[~_bits(chunk.buffers()[0], chunk.offset, len(chunk))] = absent
    return out


def numbers_and_known(column: pa.Array) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, days or booleans as they are, 0 for nulls, and which are known; None where all are."""
    is_float = pa.types.is_float64(column.type)
    values = _of_buffer(column, np.dtype(np.float64)) if is_float else _plain(column)
    if not column.null_count:
        return values, None
    known = known_of(column)
    return np.where(known, values, values.dtype.type(0)), known


def known_of(column: pa.Array) -> np.ndarray:
    """Which values are not null."""
    if not column.null_count:
        return np.ones(len(column), np.bool_)
    if column.null_count == len(column):
        return np.zeros(len(column), np.bool_)
    return _bits(column.buffers()[0], column.offset, len(column))


def to_arrow(values: np.ndarray, absent: np.ndarray | None, kind: pa.DataType) -> pa.Array:
    """An array of a fixed-width type over the values, which must be of its width; ``absent`` flags nulls."""
    assert values.dtype.itemsize * 8 == kind.bit_width
    valid = None if absent is None else pa.py_buffer(np.packbits(~absent, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [valid, pa.py_buffer(np.ascontiguousarray(values))])


def text_array(texts: Sequence[str]) -> pa.StringArray:
    """Texts as an array."""
    data = [t.encode() for t in texts]
    offsets = np.zeros(len(data) + 1, np.int32)
    np.cumsum([len(d) for d in data], out=offsets[1:])
    return pa.StringArray.from_buffers(len(data), pa.py_buffer(offsets), pa.py_buffer(b"".join(data)))


def _plain(chunk: pa.Array) -> np.ndarray:
    kind = chunk.type
    dtype: np.dtype = np.dtype(np.int64)
    if pa.types.is_boolean(kind):
        return _bits(chunk.buffers()[1], chunk.offset, len(chunk))
    if pa.types.is_timestamp(kind):
        chunk = chunk.cast(pa.timestamp("us", kind.tz))
    elif pa.types.is_date32(kind):
        dtype = np.dtype(np.int32)
    elif pa.types.is_integer(kind):
        dtype = np.dtype(str(kind))
    else:
        raise ValueError(f"a column of type {kind} where whole numbers, days, stamps or booleans are expected")
    return _of_buffer(chunk, dtype)


def _of_buffer(chunk: pa.Array, dtype: np.dtype) -> np.ndarray:
    data = chunk.buffers()[1]
    if data is None or not len(chunk):
        return np.empty(0, dtype)
    return np.frombuffer(data, dtype, len(chunk), chunk.offset * dtype.itemsize)


def _bits(buffer: pa.Buffer, offset: int, count: int) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(buffer, np.uint8), count=offset + count, bitorder="little")
    return bits[offset:].view(np.bool_)
