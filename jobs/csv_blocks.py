"""A CSV as blocks of text columns: Arrow parts its rows while its quotes are checked on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from jobs.byte_streams import Delivered, open_text
from jobs.csv_head import Head, read_head
from jobs.file_columns import Block
from jobs.findings import Finding
from jobs.quote_check import QuoteCheck
from schemas.errors import InputError

SEVERAL_LINES = 'hold a cell of several lines: did a quote (") opened by mistake take in rows? `max_cell_lines: 20` says that it is right'
BLANKS = " \t\ufeff"
"""What may stand around a header that comes again, the mark at a file's beginning too."""


class _Table(io.RawIOBase):
    """The text of the table alone, as a stream that refuses quotes out of order."""

    def __init__(self, file: Delivered, head: Head):
        self.text: Any = open_text(file) if head.whole is None else io.BytesIO(head.whole)
        if head.whole is None:
            self.text.read(head.above)
        self.check = QuoteCheck(file.name, file.mapping, head.delimiter, len(head.columns), head.lines)
        self.checks = file.mapping.quoting != "none"

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        filled: int = self.text.readinto(buffer)
        if self.checks:
            self.check.feed(bytes(memoryview(buffer)[:filled]))
            if filled < len(buffer):
                self.check.end()
                self.checks = False
        return filled

    @property
    def has_cells_of_several_lines(self) -> bool:
        """Up to where it was read, and the mapping does not say that such cells are meant."""
        return self.check.cells_of_several_lines > 0 and self.check.mapping.max_cell_lines is None


@dataclass
class _Torn:
    """Rows that have another number of cells than the table has columns: (row, raw text, reason), in order."""

    file: Delivered
    first: int
    whose: str
    rows: list[tuple[int, str, str]] = field(default_factory=list)

    def __call__(self, row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} columns where {self.whose} {row.expected_columns}"
        lines = len(row.text.strip().splitlines())
        reason += f' over {lines} lines of the file: is a quote (") opened and never closed?' if lines > 1 else ""
        self.rows.append((row.number - self.first, row.text, reason))
        return "skip"


def csv_blocks(file: Delivered) -> Iterator[Block]:
    head, mapping = read_head(file), file.mapping
    quoted = mapping.quoting != "none"
    torn = _Torn(file, 1, "the header has") if mapping.header else _Torn(file, 0, "`columns` names")
    names = [f"c{k}" for k in range(len(head.columns))]
    text = _Table(file, head)
    try:
        reader = pacsv.open_csv(
            text,
            read_options=pacsv.ReadOptions(use_threads=False, block_size=file.block_bytes, column_names=names),
            parse_options=pacsv.ParseOptions(
                delimiter=head.delimiter,
                quote_char='"' if quoted else False,
                newlines_in_values=quoted,
                invalid_row_handler=torn,
            ),
            convert_options=pacsv.ConvertOptions(
                check_utf8=False, strings_can_be_null=False, column_types={n: pa.string() for n in names}
            ),
        )
        yield from _numbered(reader, text, head, torn)
    except pa.ArrowInvalid as e:
        # Reads are full and quotes are in order, so a row that does not end within a block is longer than it.
        long = f"a row is longer than {file.block_size}; is it CSV?" if "straddling object" in str(e) else ""
        raise InputError(f"{file.name}: {long or f'is no CSV ({e})'}") from None


def _numbered(reader: pacsv.CSVStreamingReader, text: _Table, head: Head, torn: _Torn) -> Iterator[Block]:
    """Blocks with row numbers, from 1: a header is row 0, and rows that were set aside keep their number."""
    has_header = torn.file.mapping.header
    given, good, bad = 1 - has_header, 0, 0
    for batch in reader:
        table = pa.Table.from_batches([batch])
        rows = _row_numbers(given, len(table), [number for number, _, _ in torn.rows[bad:]])
        fresh = [t for t in torn.rows[bad:] if not len(rows) or t[0] <= rows[-1]]
        skip = int(given == 0 and len(rows) > 0)
        given = int(rows[-1]) + 1 if len(rows) else given
        bad += len(fresh)
        table, rows = table.slice(skip), rows[skip:]
        good += len(table)
        table = table.append_column("row", pa.array(rows))
        if has_header:
            table, again = _without_headers(table, head)
            fresh = sorted([*fresh, *again])
        yield Block(head.columns, table, fresh, _of_several_lines(table) if text.has_cells_of_several_lines else ())
    if len(torn.rows) > bad:
        yield Block(head.columns, _no_rows(head.columns), torn.rows[bad:])
    if good == 0 and len(torn.rows) > 1:
        row, _, reason = torn.rows[0]
        if len({reason for _, _, reason in torn.rows}) == 1 and has_header:
            reason += f"; if its header leaves names out, say `skip_rows: {torn.file.mapping.skip_rows + 1}`, `header: false` and `columns: [...]`"
        raise InputError(
            f"{torn.file.name}: no row has the {len(head.columns)} columns of the header ({reason}, row {row})"
        )


def _of_several_lines(table: pa.Table) -> tuple[Finding, ...]:
    found = np.zeros(len(table), dtype=bool)
    for name in table.column_names[:-1]:
        found |= pc.match_substring_regex(table[name], r"[\r\n]").to_numpy()
    rows = table["row"].to_numpy()[found]
    return (Finding(SEVERAL_LINES, len(rows), int(rows[0])),) if len(rows) else ()


def _without_headers(table: pa.Table, head: Head) -> tuple[pa.Table, list[tuple[int, str, str]]]:
    """The rows apart from those that are the header once more, as where two files were put together."""
    if not pc.any(pc.match_substring(table["c0"], head.columns[0])).as_py():
        return table, []
    alike = pa.scalar(True)
    for k, name in enumerate(head.columns):
        alike = pc.and_(alike, pc.equal(pc.utf8_trim(table[f"c{k}"], characters=BLANKS), name))
    text = io.StringIO()
    csv.writer(text, delimiter=head.delimiter).writerow(head.columns)
    again = table.filter(alike)["row"].to_pylist()
    reason = "is the header once more: were two files put together?"
    return table.filter(pc.invert(alike)), [(row, text.getvalue().strip(), reason) for row in again]


def _row_numbers(first: int, count: int, skipped: Sequence[int]) -> np.ndarray:
    """The numbers of the next ``count`` good rows from ``first`` on, leaving out those of rows set aside."""
    rows = np.arange(first, first + count + len(skipped), dtype=np.int64)
    return rows[~np.isin(rows, np.array(skipped, dtype=np.int64))][:count]


def _no_rows(columns: Sequence[str]) -> pa.Table:
    schema = pa.schema([*((f"c{k}", pa.string()) for k in range(len(columns))), ("row", pa.int64())])
    return schema.empty_table()
