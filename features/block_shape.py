"""What a block of text columns looks like, from its buffers: what the SQL over it may leave out.

Trimming or unquoting every value of a column costs more than looking whether any value needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

LONGEST = 24
"""Bytes up to which it is told which lengths of values occur: words for nothing are short."""


@dataclass(frozen=True)
class Shape:
    """What decides the SQL of a block: its columns, and what is found in them.

    Columns by their place: ``special`` hold text that needs JSON escapes or nulls, ``wide`` are not ASCII, ``full`` may hold
    full-width forms, ``ragged`` need trimming, ``odd`` hold one of the signs ``+'=``, ``dotted`` a point. ``lengths`` are
    those of a column's values in bytes, up to ``LONGEST``.
    """

    columns: tuple[str, ...]
    special: frozenset[int]
    wide: frozenset[int]
    ragged: frozenset[int]
    odd: frozenset[int]
    full: frozenset[int]
    dotted: frozenset[int]
    lengths: tuple[frozenset[int], ...]
    has_raw: bool


def look(block: pa.Table, columns: Sequence[str]) -> Shape:
    """The block's shape, from its buffers: what the generated SQL may leave out."""
    special, wide, ragged, odd, full, dotted, lengths = set(), set(), set(), set(), set(), set(), []
    for k in range(len(columns)):
        found = np.zeros(LONGEST + 2, dtype=np.int64)
        for chunk in block[f"c{k}"].chunks:
            text, ends = _bytes_of(chunk)
            found += np.bincount(np.minimum(np.diff(ends), LONGEST + 1), minlength=LONGEST + 2)
            if chunk.null_count or ((text < 0x20) | (text == 0x22) | (text == 0x5C)).any():
                special.add(k)
            if (text == 0x2E).any():
                dotted.add(k)
            high = bool((text >= 0x80).any())
            if high:
                wide.add(k)
                if (text == 0xEF).any():
                    full.add(k)
            if _has_ragged(text, ends, high):
                ragged.add(k)
            if ((text == 0x2B) | (text == 0x27) | (text == 0x3D)).any():
                odd.add(k)
        lengths.append(frozenset(np.flatnonzero(found[:-1]).tolist()))
    return Shape(
        tuple(columns),
        frozenset(special),
        frozenset(wide),
        frozenset(ragged),
        frozenset(odd),
        frozenset(full),
        frozenset(dotted),
        tuple(lengths),
        "raw" in block.column_names,
    )


def _has_ragged(text: np.ndarray, ends: np.ndarray, high: bool) -> bool:
    """Does any value begin or end with white space? Trimming every value of a column costs more than looking."""
    filled = ends[:-1] < ends[1:]
    first, last = ends[:-1][filled], ends[1:][filled] - 1
    if (text[first] <= 0x20).any() or (text[last] <= 0x20).any():
        return True
    if not high:
        return False
    # Bytes of neighbouring values may mix into these triples: that only trims where nothing needs it.
    padded = np.concatenate([text[:2] * 0, text, text[:2] * 0]) if len(text) >= 2 else np.zeros(6, dtype=np.uint8)
    return _is_wide_space(padded, first + 2) or _is_wide_space(padded, last)


def _is_wide_space(text: np.ndarray, at: np.ndarray) -> bool:
    """Is one of the spaces that take two or three bytes in the bytes from ``at`` on?"""
    b0, b1, b2 = text[at], text[at + 1], text[at + 2]
    # E2 80 and E2 81 begin dashes and quotes as well: those are trimmed in vain.
    three = ((b0 == 0xE3) & (b1 == 0x80) & (b2 == 0x80)) | ((b0 == 0xE2) & ((b1 == 0x80) | (b1 == 0x81)))
    three |= ((b0 == 0xEF) & (b1 == 0xBB) & (b2 == 0xBF)) | ((b0 == 0xE1) & (b1 == 0xA0) & (b2 == 0x8E))
    return bool((three | _is_short_space(b0, b1) | _is_short_space(b1, b2)).any())


def _is_short_space(b0: np.ndarray, b1: np.ndarray) -> np.ndarray:
    found: np.ndarray = (b0 == 0xC2) & ((b1 == 0xA0) | (b1 == 0x85) | (b1 == 0xAD)) | (b0 == 0xD8) & (b1 == 0x9C)
    return found


def _bytes_of(chunk: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The bytes of a text array and where its values end in them, of the slice that it shows only."""
    _, offsets, data = chunk.buffers()
    if data is None or len(chunk) == 0:
        return np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int32)
    ends = np.frombuffer(offsets, dtype=np.int32)[chunk.offset : chunk.offset + len(chunk) + 1]
    return np.frombuffer(data, dtype=np.uint8)[ends[0] : ends[-1]], ends - ends[0]
