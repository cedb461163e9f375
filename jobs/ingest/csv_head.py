"""The head of a CSV: where its table begins, what parts its columns, and whether its first row names them."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass

from features.first_rows import sign_of_data
from features.sources import Mapping
from jobs.ingest.byte_streams import ArrivedFile, open_text
from jobs.ingest.file_columns import checked_columns
from schemas.errors import InputError

HEAD_BYTES = 1 << 16
MOST_ROWS = 50
_SEPARATOR = re.compile(rb'"?sep=([\t-~])"?(?:\r\n|\r|\n|$)', re.IGNORECASE)
"""What Excel takes for the delimiter and shows to nobody."""
_END_OF_LINE = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Head:
    """``above`` bytes of text, ``lines`` lines of it, stand above the table, which ``delimiter`` parts.

    ``columns`` are its names.
    """

    delimiter: str
    above: int
    lines: int
    columns: tuple[str, ...]


def read_head(file: ArrivedFile) -> Head:
    """InputError where there is no table, or its columns are not those that the mapping reads."""
    name, mapping = file.name, file.mapping
    text = open_text(file).read(HEAD_BYTES)
    if not text.strip():
        raise InputError(f"{name}: the file is empty: not even a header; deliver it again")
    separator = _SEPARATOR.match(text)
    delimiter = separator[1].decode() if separator else mapping.delimiter
    ends = [m.end() for m in _END_OF_LINE.finditer(text)]
    lines = mapping.skip_rows + (separator is not None)
    above = 0 if lines == 0 else ends[lines - 1] if lines <= len(ends) else len(text)
    table = text[above:]
    if not table.strip():
        raise InputError(
            f"{name}: nothing stands below the {lines} lines above its table (skip_rows: {mapping.skip_rows})"
        )
    cut = len(text) == HEAD_BYTES
    rows = _first_rows(table, delimiter, mapping, cut=cut)
    if mapping.header:
        columns = _names(rows, lines, name, mapping)
    else:
        columns = mapping.named_columns
        if len(rows[0][1]) != len(columns):
            raise InputError(
                f"{name}: its first row has {len(rows[0][1])} cells where `columns` in {mapping.name}.yaml names {len(columns)}"
            )
    return Head(delimiter, above, lines, columns)


def _first_rows(table: bytes, delimiter: str, mapping: Mapping, *, cut: bool) -> list[tuple[int, list[str]]]:
    """(line of its beginning, cells) of the first rows that are not blank; of several, the last is left out where it may be cut off."""
    text = io.StringIO(table.decode("utf-8", "ignore"), newline="")
    plain = mapping.quoting == "none"
    reader = csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
    found, line = [], 1
    for row in reader:
        if row:
            found.append((line, row))
        line = reader.line_num + 1
        if len(found) > MOST_ROWS:
            return found
    return found[:-1] if cut and len(found) > 1 else found


def _names(rows: list[tuple[int, list[str]]], lines: int, name: str, mapping: Mapping) -> tuple[str, ...]:
    cells, read = [c.strip() for c in rows[0][1]], set(mapping.columns)
    for line, row in rows[1:] if not read <= set(cells) else []:
        if read <= {c.strip() for c in row}:
            raise InputError(
                f"{name}: the columns that {mapping.name}.yaml reads stand on line {lines + line} and not on the first; "
                f"say `skip_rows: {mapping.skip_rows + line - 1}`"
            )
    if cells[0].startswith("{"):
        raise InputError(
            f"{name}: its first row begins with a brace, as JSON Lines do; is `format: csv` right in {mapping.name}.yaml?"
        )
    if sign := sign_of_data(cells, [row for _, row in rows[1:]]):
        raise InputError(
            f"{name}: its first row is no header but data ({sign}); say `header: false` and `columns: [...]`, a name for "
            f"each of its {len(cells)} columns, in {mapping.name}.yaml"
        )
    return checked_columns(cells, name, mapping)
