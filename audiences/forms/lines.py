"""Rows as lines of text: CSV, one id a line, JSON Lines, and lines of Ocean Engine's DMP."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

from audiences.delivery import BOM, cell
from audiences.forms.dmp import DATA_TYPES, MOST_IDS, IdItem, dmp_line

Row = Sequence[Any]


class FileLine(NamedTuple):
    """What stands in one line of a file: of how many people, and its bytes."""

    content: Any
    rows: int
    bytes: int


class _Echo:
    def write(self, text: str) -> str:
        return text


def csv_head(headers: Sequence[str], excel: bool) -> bytes:
    """The first line: headers with the same marks as cells, for Excel behind a byte-order mark."""
    text: str = csv.writer(_Echo(), lineterminator="\r\n").writerow([cell(h) for h in headers])
    return ((BOM if excel else "") + text).encode()


def lines_of_csv(rows: Iterable[Row], excel: bool) -> Iterator[FileLine]:
    writer = csv.writer(_Echo(), lineterminator="\r\n")
    for row in rows:
        text: str = writer.writerow([cell(v, excel) for v in row])
        content = text.encode()
        yield FileLine(content, 1, len(content))


def lines_of_ids(rows: Iterable[Row]) -> Iterator[FileLine]:
    """One id a line, nothing else; an id without a value has none."""
    for (text,) in rows:
        if text is not None:
            content = f"{text}\n".encode()
            yield FileLine(content, 1, len(content))


def lines_of_json(rows: Iterable[Row], headers: Sequence[str], rows_per_line: int | None) -> Iterator[FileLine]:
    """An object a row; or an object of arrays for as many rows as a call of the platform takes.

    A header ``A.b`` puts the value into an object: ``{"A": {"b": ...}}``, in arrays ``{"A": [{"b": ...}, ...]}``.
    """
    for part in _batches(rows, rows_per_line or 1):
        objects = [_nested(headers, row) for row in part]
        names = dict.fromkeys(h.split(".", 1)[0] for h in headers)
        whole: Any = objects[0] if rows_per_line is None else {n: [o[n] for o in objects] for n in names}
        content = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        yield FileLine(content, len(part), len(content))


def lines_of_dmp(rows: Iterable[Row], headers: Sequence[str], rows_per_line: int | None) -> Iterator[FileLine]:
    """Ids of up to ``rows_per_line`` people a line; a person may have several."""
    kinds = [DATA_TYPES[h] for h in headers]
    most = min(rows_per_line or MOST_IDS, MOST_IDS) // len(kinds)
    for part in _batches(rows, most):
        items = [IdItem(k, text) for row in part for k, text in zip(kinds, row, strict=True) if text is not None]
        content = dmp_line(items) + b"\n"
        yield FileLine(content, len(part), len(content))


def _batches(rows: Iterable[Row], most: int) -> Iterator[list[Row]]:
    left = iter(rows)
    while part := list(islice(left, most)):
        yield part


def _nested(headers: Sequence[str], row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for header, value in zip(headers, row, strict=True):
        outer, dot, inner = header.partition(".")
        if dot:
            # What a template of messages takes is text.
            found.setdefault(outer, {})[inner] = cell(value, excel=False) if not isinstance(value, str) else value
        else:
            found[outer] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, (Decimal, datetime, date)):
        return cell(value, excel=False)
    return value
