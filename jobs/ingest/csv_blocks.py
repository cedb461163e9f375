"""A CSV as blocks of text columns: Arrow parts its rows while its quotes are checked on the way."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from jobs.ingest.byte_streams import ArrivedFile, open_text
from jobs.ingest.csv_head import Head, read_head
from jobs.ingest.file_columns import TextBlock
from jobs.ingest.findings import Finding
from jobs.ingest.quote_check import QuoteCheck, count_of_lines, end_of_last_line
from schemas.errors import InputError

SEVERAL_LINES = 'hold a cell of several lines: did a quote (") opened by mistake take in rows? `max_cell_lines: 20` says that it is right'
BLANKS = " \t\ufeff"
"""What may stand around a header that comes again, the mark at a file's beginning too."""


@dataclass
class _Torn:
    """Rows that have another number of cells than the table has columns: (row, raw text, reason), in order.

    ``given`` is the number of the row before the block that is parted now.
    """

    whose: str
    given: int
    rows: list[tuple[int, str, str]] = field(default_factory=list)

    def __call__(self, row: pacsv.InvalidRow) -> str:
        reason = f"{row.actual_columns} columns where {self.whose} {row.expected_columns}"
        lines = len(row.text.strip().splitlines())
        reason += f' over {lines} lines of the file: is a quote (") opened and never closed?' if lines > 1 else ""
        self.rows.append((self.given + row.number, row.text, reason))
        return "skip"


def csv_blocks(file: ArrivedFile) -> Iterator[TextBlock]:
    """Blocks with row numbers, from 1: a header is row 0, and rows that were set aside keep their number."""
    head, mapping = read_head(file), file.mapping
    torn = _Torn("the header has", -1) if mapping.header else _Torn("`columns` names", 0)
    good = 0
    first_torn: tuple[int, str, str] | None = None
    reasons: set[str] = set()
    for text, has_several_lines in _whole_rows(file, head):
        torn.rows = []
        try:
            table = _parted(text, head, torn, quoted=mapping.quoting != "none")
        except pa.ArrowInvalid as e:
            raise InputError(f"{file.name}: is no CSV ({e})") from None
        rows = _row_numbers(torn.given + 1, len(table), [number for number, _, _ in torn.rows])
        torn.given += len(table) + len(torn.rows)
        table = table.append_column("row", pa.array(rows)).slice(int(len(rows) > 0 and rows[0] == 0))
        aside = torn.rows
        if mapping.header:
            table, again = _without_headers(table, head)
            aside = sorted([*aside, *again])
        several = _of_several_lines(table) if has_several_lines else ()
        block = TextBlock(head.columns, table, aside, several).without_blank_rows(head.delimiter)
        kept = {row for row, _, _ in block.torn}
        wrong = [t for t in torn.rows if t[0] in kept]
        good += len(block.table)
        first_torn = first_torn or next(iter(wrong), None)
        reasons.update(reason for _, _, reason in wrong)
        yield block
    if good == 0 and first_torn is not None and torn.given > 1:
        row, _, reason = first_torn
        way_out = (
            f"; if its header leaves names out, say `skip_rows: {mapping.skip_rows + 1}`, `header: false` and `columns: [...]`"
            if mapping.header and len(reasons) == 1
            else ""
        )
        raise InputError(
            f"{file.name}: no row has the {len(head.columns)} columns of the header ({reason}, row {row}){way_out}"
        )


def _whole_rows(file: ArrivedFile, head: Head) -> Iterator[tuple[bytes, bool]]:
    """The table's text, whole rows of about a block at a time, and whether cells of several lines were there unsaid.

    Arrow is given text only: it would read a file of Python's in a thread of its own, and a process that turns away
    from such a file, a refused one, waits for that thread for ever.
    """
    stream, rest, lines = open_text(file), b"", head.lines
    stream.read(head.above)
    check = QuoteCheck(file.name, file.mapping, head.delimiter, len(head.columns), head.lines)
    quoted = file.mapping.quoting != "none"
    while data := stream.read(file.block_bytes):
        text = rest + data
        if quoted:
            check.feed(data)
            whole = len(text) - check.unfinished
        else:
            whole = end_of_last_line(text, len(text.rstrip(b"\r")))
        if whole == 0 and len(text) > file.block_bytes:
            raise InputError(
                f"{file.name}: the row from line {lines + 1:,} on is longer than {file.block_size}; is it CSV?"
            )
        if whole:
            lines += count_of_lines(text[:whole])
            yield text[:whole], check.tells_of_several_lines
        rest = text[whole:]
    if quoted:
        check.end()
    if rest:
        yield rest + b"\n", check.tells_of_several_lines


def _parted(text: bytes, head: Head, torn: _Torn, *, quoted: bool) -> pa.Table:
    names = [f"c{k}" for k in range(len(head.columns))]
    if not text.strip(b"\r\n"):
        return pa.schema([(n, pa.string()) for n in names]).empty_table()
    return pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(use_threads=False, block_size=len(text) + 1, column_names=names),
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
