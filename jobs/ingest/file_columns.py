"""What a delivered file is cut into, blocks of text columns, and its columns held against what its mapping reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.first_rows import is_value
from features.sources import Mapping
from features.text_forms import WHITE
from jobs.ingest.findings import Finding
from schemas.configuration import nearest
from schemas.errors import InputError

MOST_NAMED = 5
"""Missing columns that an error names before it only counts."""


@dataclass(frozen=True)
class TextBlock:
    """``columns`` are the file's names of ``c0``..; ``torn`` are (row, raw text, reason) of rows without columns.

    ``remarks`` are of rows that are read as they stand and may not be what they were meant to be. ``blank`` counts rows
    without any content, which are left out.
    """

    columns: tuple[str, ...]
    table: pa.Table
    torn: list[tuple[int, str, str]]
    remarks: tuple[Finding, ...] = ()
    blank: int = 0

    @property
    def rows(self) -> int:
        return len(self.table) + len(self.torn) + self.blank

    def without_blank_rows(self, delimiter: str = "") -> TextBlock:
        """The rows that hold anything, with a remark on the others: spreadsheets save every row that was ever used.

        ``delimiter`` parts the cells of what was torn.
        """
        bare = np.ones(len(self.table), dtype=bool)
        for k in range(len(self.columns)):
            if not bare.any():
                break
            trimmed = pc.utf8_trim(pc.fill_null(self.table[f"c{k}"], ""), characters=WHITE)
            bare &= pc.equal(trimmed, "").to_numpy(zero_copy_only=False)
        torn = [t for t in self.torn if t[1].strip(f'{WHITE}"{delimiter}')]
        left_out = {row for row, _, _ in self.torn} - {row for row, _, _ in torn}
        numbers = [*self.table["row"].to_numpy()[bare].tolist(), *left_out]
        if not numbers:
            return self
        remark = Finding("are blank in every cell and count as not selected", len(numbers), min(numbers))
        return replace(
            self,
            table=self.table.filter(pa.array(~bare)),
            torn=torn,
            remarks=(*self.remarks, remark),
            blank=len(numbers),
        )


def checked_columns(names: Sequence[str], name: str, mapping: Mapping) -> tuple[str, ...]:
    """The header, every column of the mapping found in it once; InputError suggests the nearest names."""
    wrong = []
    if not set(names) & set(mapping.columns):
        shown = ", ".join("***" if is_value(n) else _in_one_line(n) for n in names[:12]) + (
            ", ..." if len(names) > 12 else ""
        )
        raise InputError(
            f"{name}: has none of the columns that {mapping.name}.yaml reads ({', '.join(mapping.columns[:6])}, ...); "
            f"its own are {shown}{_other_delimiter(names, mapping)}{_other_head(mapping)}; if it is another kind of file, "
            "give it a mapping of its own (`huaxiang source draft FILE` proposes one)"
        )
    for column in mapping.columns:
        count = list(names).count(column)
        if count == 0:
            free = [_in_one_line(n) for n in names if n not in mapping.columns]
            wrong.append(f"column {column!r} ({used_for(mapping, column)}) is not there; {nearest(column, free)}")
        if count > 1:
            wrong.append(f"column {column!r} stands {count} times in the header")
    if wrong:
        hint = _other_delimiter(names, mapping)
        more = len(wrong) - MOST_NAMED
        wrong = wrong[:MOST_NAMED] + ([f"and {more} more columns"] if more > 0 else [])
        raise InputError(f"{name}: {'; '.join(w.rstrip('; ') for w in wrong)}{hint}")
    return tuple(names)


def _in_one_line(name: str) -> str:
    """A name with an end of line in it as YAML would hold it."""
    return name if name.isprintable() else json.dumps(name, ensure_ascii=False)


def _other_head(mapping: Mapping) -> str:
    if mapping.format != "csv":
        return ""
    return "; if lines stand above its header, say `skip_rows: N`, and if it has none, `header: false` with `columns: [...]`"


def _other_delimiter(names: Sequence[str], mapping: Mapping) -> str:
    if mapping.format == "csv" and len(names) == 1 and len(mapping.columns) > 1:
        for other in (",", ";", "\t", "|"):
            if other != mapping.delimiter and other in names[0]:
                return f"; the header is one column: is the delimiter {other!r}? Say so in {mapping.name}.yaml"
    return ""


def needed_columns(mapping: Mapping) -> set[str]:
    c = mapping.contract
    required = [col.name for col in c.feed_columns if col.required]
    return {n for f in required if f in mapping.fields for n in mapping.fields[f].columns}


def used_for(mapping: Mapping, column: str) -> str:
    fields = [f for f, r in mapping.fields.items() if column in (*r.columns, *(c.column for c in r.when))]
    return f"for {', '.join(fields)}" if fields else "for where"
