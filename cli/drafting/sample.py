"""The head of an unknown file: its form, encoding, delimiter, header and rows of text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cli.drafting.words import is_known
from features.first_rows import sign_of_data
from jobs.ingest.byte_streams import GZIP
from jobs.ingest.reading import PARQUET, text_of
from schemas.errors import InputError, NotThereError

SAMPLE_BYTES, SAMPLE_ROWS = 4 << 20, 5_000
TABLE = 0.3
"""Share of a file's rows that belong to its table at least."""
FILLED = 0.6
"""Share of cells that a header has at least; titles above it fill fewer."""


@dataclass
class Sample:
    """``rows`` are as wide as ``columns``, None where a value is absent.

    ``skip_rows`` lines stand above the header; without a ``header`` the columns are named here. ``quoted``: quotes hold
    cells together.
    """

    file: Path
    form: str
    encoding: str
    delimiter: str
    columns: list[str]
    rows: list[list[str | None]]
    header: bool = True
    skip_rows: int = 0
    quoted: bool = True

    def values(self, column: str) -> list[str]:
        """What the column holds where it is not blank, trimmed."""
        k = self.columns.index(column)
        return [v.strip() for row in self.rows if (v := row[k]) is not None and v.strip()]

    def cells(self, column: str) -> list[str]:
        """What the column holds in every row, trimmed, blank where it is absent."""
        k = self.columns.index(column)
        return [(row[k] or "").strip() for row in self.rows]


def sniff(file: Path) -> Sample:
    """Form, encoding, delimiter, columns and first rows; gzip is recognised by content."""
    if not file.is_file():
        raise NotThereError(f"{file}: the file is not there")
    with file.open("rb") as f:
        start = f.read(4)
    if not start:
        raise InputError(f"{file}: the file is empty (0 bytes)")
    if start == PARQUET:
        return _parquet_sample(file)
    try:
        raw = pa.OSFile(str(file), "rb")
        stream = pa.CompressedInputStream(raw, "gzip") if start[:2] == GZIP else raw
        head = b""
        # A stream may answer with fewer bytes than were asked for.
        while len(head) < SAMPLE_BYTES and (more := stream.read(SAMPLE_BYTES - len(head))):
            head += more
    except OSError as e:
        raise InputError(f"{file}: cannot be read ({e})") from None
    cut = len(head) == SAMPLE_BYTES
    text, encoding = _decoded(file, head, cut=cut)
    if text.lstrip().startswith("{"):
        return _json_sample(file, text, encoding)
    return _csv_sample(file, text[: text.rfind("\n") + 1] if cut else text, encoding, cut=cut)


def _decoded(file: Path, head: bytes, *, cut: bool) -> tuple[str, str]:
    for encoding in ("utf-8-sig", "gb18030"):
        for spare in range(4 if cut else 1):
            try:
                text = head[: len(head) - spare].decode(encoding)
            except UnicodeDecodeError:
                continue
            if "\x00" not in text:
                return text, "utf-8" if encoding == "utf-8-sig" else encoding
    raise InputError(f"{file}: is neither UTF-8 nor GB18030 text, nor Parquet; save it as CSV UTF-8")


def _csv_sample(file: Path, text: str, encoding: str, *, cut: bool) -> Sample:
    named = re.match(r"sep=(.)\r?\n", text, re.IGNORECASE)
    body = text[named.end() :] if named else text
    tried = [_split(body, delimiter, cut=cut) for delimiter in ([named[1]] if named else [",", "\t", ";", "|"])]
    if not any(rows for _, rows, _ in tried):
        raise InputError(f"{file}: the file is empty: not even a header")
    delimiter, rows, quoted = max(tried, key=lambda t: _regular([cells for _, cells in t[1]]))
    width = _width([cells for _, cells in rows])
    at = next((k for k, (_, cells) in enumerate(rows) if _may_be_header(cells, width)), 0)
    above, first = rows[at]
    columns, data = [c.strip() for c in first], [list(cells) for _, cells in rows[at + 1 :] if len(cells) == len(first)]
    header = not sign_of_data(columns, data) or any(map(is_known, columns))
    if not header:
        data, columns = [first, *data], [f"column_{k + 1}" for k in range(len(columns))]
    found: list[list[str | None]] = [list(row) for row in data]
    return Sample(file, "csv", encoding, delimiter, columns, found, header=header, skip_rows=above, quoted=quoted)


def _split(text: str, delimiter: str, *, cut: bool) -> tuple[str, list[tuple[int, list[str]]], bool]:
    """(lines above, cells) of rows by a delimiter, and whether quotes are read: not where one is never closed.

    ``cut``: the text is the head of a longer one, which may end within a quoted cell.
    """
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
        rows, above = [], 0
        try:
            # Strict, since a stray quote would otherwise swallow the rows after it.
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, quoting=quoting, strict=True)
            for row in reader:
                if row:
                    rows.append((above, row))
                above = reader.line_num
                if len(rows) > SAMPLE_ROWS:
                    break
        except csv.Error as e:
            if not (cut and "unexpected end of data" in str(e)):
                continue
        return delimiter, rows, quoting == csv.QUOTE_MINIMAL
    return delimiter, [], True


def _width(rows: list[list[str]]) -> int:
    """Cells of most rows, those of one cell left out where others are: titles stand above a table, and notes below."""
    several = Counter(len(row) for row in rows if len(row) > 1)
    width, n = several.most_common(1)[0] if several else (1, len(rows))
    return width if n >= TABLE * len(rows) else 1


def _regular(rows: list[list[str]]) -> float:
    """How much of a table a delimiter makes of the rows: its width, times the share of rows that have it."""
    width = _width(rows) if rows else 0
    return width * sum(len(row) == width for row in rows) / len(rows) if rows else 0


def _may_be_header(row: list[str], width: int) -> bool:
    return len(row) == width and sum(bool(c.strip()) for c in row) >= FILLED * width


def _json_sample(file: Path, text: str, encoding: str) -> Sample:
    objects: list[dict[str, Any]] = []
    columns: dict[str, None] = {}
    for line in text.splitlines()[:SAMPLE_ROWS]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict):
            flat = dict(_flat(found))
            objects.append(flat)
            columns |= dict.fromkeys(flat)
    if not objects:
        raise InputError(f"{file}: begins like JSON, but no line is a JSON object of its own")
    rows = [[_json_text(o.get(c)) for c in columns] for o in objects]
    return Sample(file, "jsonl", encoding, ",", list(columns), rows)


def _flat(found: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Keys of keys parted by dots, as a mapping names them."""
    flat: list[tuple[str, Any]] = []
    for key, value in found.items():
        flat += _flat(value, f"{path}{key}.") if isinstance(value, dict) and value else [(path + key, value)]
    return flat


def _json_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _parquet_sample(file: Path) -> Sample:
    try:
        opened = pq.ParquetFile(file)
        batch = next(opened.iter_batches(batch_size=SAMPLE_ROWS), None)
    except pa.ArrowInvalid as e:
        raise InputError(f"{file}: the Parquet file is damaged ({e})") from None
    names = opened.schema_arrow.names
    columns = [] if batch is None else [text_of(batch.column(k), n, file.name).to_pylist() for k, n in enumerate(names)]
    return Sample(file, "parquet", "utf-8", ",", names, [list(r) for r in zip(*columns, strict=True)])
