"""Columns as the text that shops write: Chinese dates, money with signs and separators, CSV cells, JSON members.

Everything works on whole Arrow columns; a row is never touched in Python.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator.season import DAY_MS, NEVER, ZONE_OFFSET_MS

_HOURS = {
    "dash": pa.array([f" {h:02d}" for h in range(24)]),
    "slash": pa.array([f" {h}" for h in range(24)]),
    "iso": pa.array([f"T{h:02d}" for h in range(24)]),
}
_MINUTES = pa.array([f":{m:02d}" for m in range(60)])
_SECONDS = pa.array([f":{s // 60:02d}:{s % 60:02d}" for s in range(3600)])


def join(*parts: pa.Array | str) -> pa.Array:
    """Concatenation by row; null where any part is null."""
    return pc.binary_join_element_wise(*parts, "")


def _walls(column: pa.Array) -> np.ndarray:
    return column.cast(pa.int64()).fill_null(NEVER).to_numpy(zero_copy_only=False)


def stamps(column: pa.Array, style: str) -> pa.Array:
    """Times as text.

    slash ``2026/3/1 8:05:09``, slash_minutes ``2026/3/1 8:05``, dash ``2026-03-01 08:05:09``,
    iso ``2026-03-01T08:05:09+08:00``.
    """
    wall = _walls(column)
    absent = wall >= NEVER
    if absent.all():
        return pa.nulls(len(wall), pa.string())
    day = np.where(absent, 0, wall // DAY_MS)
    low = int(day[~absent].min())
    shape = style.split("_")[0]
    calendar = [date(1970, 1, 1) + timedelta(days=low + i) for i in range(int(day[~absent].max()) - low + 1)]
    names = [f"{d.year}/{d.month}/{d.day}" if shape == "slash" else d.isoformat() for d in calendar]
    second = np.where(absent, 0, wall % DAY_MS // 1000)
    days = pa.array(names).take(pa.array((day - low).astype(np.int32), mask=absent))
    hours = _HOURS[shape].take(pa.array((second // 3600).astype(np.int32)))
    if style.endswith("_minutes"):
        return join(days, hours, _MINUTES.take(pa.array((second % 3600 // 60).astype(np.int32))))
    rest = _SECONDS.take(pa.array((second % 3600).astype(np.int32)))
    return join(days, hours, rest, "+08:00") if shape == "iso" else join(days, hours, rest)


def epoch_milliseconds(column: pa.Array) -> pa.Array:
    """UTC milliseconds since 1970 as text."""
    return pc.subtract(column.cast(pa.int64()), ZONE_OFFSET_MS).cast(pa.string())


def yuan(column: pa.Array, sign: str = "", unit: str = "", separators: bool = True) -> pa.Array:
    """Fen as yuan with two decimals: ``¥1,234.50``, ``20元`` (unit without decimals where whole)."""
    fen = column.cast(pa.int64())
    yuan = pc.divide(fen, 100)
    cents = pc.subtract(fen, pc.multiply(yuan, 100))
    whole = yuan.cast(pa.string())
    if separators:
        thousands = pc.divide(yuan, 1000)
        rest = pc.subtract(yuan, pc.multiply(thousands, 1000))
        grouped = join(thousands.cast(pa.string()), ",", pc.utf8_lpad(rest.cast(pa.string()), 3, "0"))
        whole = pc.if_else(pc.greater_equal(yuan, 1000), grouped, whole)
    two = join(whole, ".", pc.utf8_lpad(cents.cast(pa.string()), 2, "0"))
    if unit:
        two = pc.if_else(pc.equal(cents, 0), whole, two)
    return join(sign, two, unit)


def decimals(column: pa.Array) -> pa.Array:
    """Fen as decimal(12,2) yuan."""
    fen = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    words = np.empty((len(fen), 2), np.int64)
    words[:, 0], words[:, 1] = fen, np.where(fen < 0, -1, 0)
    return pa.Array.from_buffers(pa.decimal128(12, 2), len(fen), [None, pa.py_buffer(words)])


def plain(column: pa.Array) -> pa.Array:
    """Text of a coded, text, number or date column."""
    if isinstance(column, pa.DictionaryArray):
        return column.dictionary.take(column.indices)
    return column.cast(pa.string())


def yes_no(column: pa.Array) -> pa.Array:
    return pc.if_else(column, "是", "否")


def csv_cells(column: pa.Array) -> pa.Array:
    """CSV cells: quoted where a comma or a quote stands inside, quotes doubled."""
    values = column.dictionary if isinstance(column, pa.DictionaryArray) else column
    values = values.cast(pa.string())
    quoted = join('"', pc.replace_substring(values, '"', '""'), '"')
    safe = pc.if_else(pc.match_substring_regex(values, '[,"\n]'), quoted, values)
    return safe.take(column.indices) if isinstance(column, pa.DictionaryArray) else safe


def csv_lines(columns: list[pa.Array]) -> pa.Array:
    """One line a row, nulls as empty cells."""
    lines = pc.binary_join_element_wise(*columns, ",", null_handling="replace", null_replacement="")
    return join(lines, "\r\n")


def member(name: str, column: pa.Array, *, quoted: bool = True) -> pa.Array:
    """``"name":value`` by row, null where the value is."""
    begin, end = (f'"{name}":"', '"') if quoted else (f'"{name}":', "")
    if isinstance(column, pa.DictionaryArray):
        return join(begin, column.dictionary, end).take(column.indices)
    return join(begin, column.cast(pa.string()), end)


def json_lines(members: list[pa.Array]) -> pa.Array:
    """One object a row without its null members; the first member must be there on every row."""
    first = join("{", members[0])
    return join(pc.binary_join_element_wise(first, *members[1:], ",", null_handling="skip"), "}\n")


def text_bytes(lines: pa.Array) -> pa.Buffer:
    """All rows' text as one buffer, without a copy where the array starts at its buffer's beginning."""
    offsets = np.frombuffer(lines.buffers()[1], np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return lines.buffers()[2].slice(int(offsets[0]), int(offsets[-1] - offsets[0]))
