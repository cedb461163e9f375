"""Two tables that should be equal, and which cells are not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

SHOWN = 10


def assert_equal(
    left: pa.Table, right: pa.Table, key: Sequence[str], names: tuple[str, str] = ("left", "right")
) -> None:
    """Same columns, types and rows by ``key``, value for value; order of rows does not matter.

    AssertionError lists the first differing cells: key, column and both values; or the rows that one side lacks.
    """
    problems = differences(left, right, key, names)
    assert not problems, f"{len(problems)} differences between {names[0]} and {names[1]}:\n" + "\n".join(
        problems[:SHOWN] + (["..."] if len(problems) > SHOWN else [])
    )


def differences(
    left: pa.Table, right: pa.Table, key: Sequence[str], names: tuple[str, str] = ("left", "right")
) -> list[str]:
    """Every difference as a line; empty where the tables are equal."""
    found = _of_schemas(left.schema, right.schema, names)
    shared = [n for n in left.column_names if n in right.column_names]
    if any(k not in shared for k in key):
        return found
    mine, yours = (_by_key(t.select(shared), key) for t in (left, right))
    for k in sorted(mine.keys() | yours.keys(), key=repr):
        at = ", ".join(f"{n}={v!r}" for n, v in zip(key, k, strict=True))
        ours, theirs = mine.get(k, []), yours.get(k, [])
        if len(ours) != len(theirs):
            found.append(f"[{at}] {len(ours)} rows in {names[0]}, {len(theirs)} in {names[1]}")
            continue
        for a, b in zip(ours, theirs, strict=True):
            found += [f"[{at}] {n}: {names[0]} {a[n]!r}, {names[1]} {b[n]!r}" for n in shared if not _same(a[n], b[n])]
    return found


def _of_schemas(left: pa.Schema, right: pa.Schema, names: tuple[str, str]) -> list[str]:
    found = []
    for name in dict.fromkeys([*left.names, *right.names]):
        kinds = [s.field(name).type if name in s.names else None for s in (left, right)]
        if kinds[0] != kinds[1]:
            said = [f"{n} {'has no such column' if k is None else k}" for n, k in zip(names, kinds, strict=True)]
            found.append(f"column {name}: {', '.join(said)}")
    return found


def _by_key(table: pa.Table, key: Sequence[str]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    rows: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        rows.setdefault(tuple(row[k] for k in key), []).append(row)
    for same in rows.values():
        same.sort(key=repr)
    return rows


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return type(a) is type(b) and a == b
