"""Delivered files as blocks of text: CSV, JSON Lines and Parquet, each also gzipped (known by content, not by name).

A block is an Arrow table of text columns ``c0``.. with ``row`` (data row within the file, from 1). What cannot be split
into columns comes beside it with its raw text. A file that cannot be read at all raises InputError, which names the
place and the remedy; memory is bounded by the size of a block.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.sources import Mapping
from jobs.ingest.byte_streams import GZIP, ArrivedFile, open_text
from jobs.ingest.csv_blocks import csv_blocks
from jobs.ingest.file_columns import TextBlock, checked_columns, needed_columns, used_for
from jobs.ingest.findings import Finding
from jobs.ingest.quote_check import LF
from schemas.configuration import nearest
from schemas.errors import InputError
from schemas.quarantine import literal

BLOCK_BYTES = 16 << 20
PARQUET, ZIP, EXCEL = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
WHOLE_FLOATS = {32: 2.0**24, 64: 2.0**53}
"""By bits: the size below which a float holds every whole number."""
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_blocks(
    path: Path,
    name: str,
    mapping: Mapping,
    connection: duckdb.DuckDBPyConnection,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[TextBlock]:
    """The file's blocks in order, each of about ``block_bytes`` of text. ``name`` is what errors call the file.

    ``connection`` evaluates JSON.
    """
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{name}: the file is empty (0 bytes); deliver it again")
        with path.open("rb") as f:
            start = f.read(4)
        if mapping.format == "parquet":
            yield from _parquet_blocks(path, name, mapping, start)
            return
        _refuse_other_formats(name, mapping, _unpacked_start(path, start))
        file = ArrivedFile(path, name, mapping, start, block_bytes)
        yield from csv_blocks(file) if mapping.format == "csv" else _json_blocks(file, connection)
    except OSError as e:
        raise InputError(f"{name}: {_damage(e)}") from None


def _unpacked_start(path: Path, start: bytes) -> bytes:
    if start[:2] != GZIP:
        return start
    with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "gzip") as f:
        found: bytes = f.read(4)
        return found


def _damage(e: OSError) -> str:
    text = str(e)
    if "Truncated compressed stream" in text or "end-of-stream" in text:
        return "the gzip stream ends too early: the file was cut off on its way; deliver it again"
    if "zlib" in text or "inflate" in text or "gzip" in text:
        return f"the gzip stream is damaged ({text}); deliver it again"
    return f"cannot be read ({text})"


def _refuse_other_formats(name: str, mapping: Mapping, start: bytes) -> None:
    if start == PARQUET:
        raise InputError(
            f"{name}: is a Parquet file, not {mapping.format}; say `format: parquet` in {mapping.name}.yaml"
        )
    if start in (ZIP, EXCEL):
        raise InputError(f"{name}: is a zip archive or an Excel workbook; unpack it, or save the sheet as CSV UTF-8")
    if start[:2] in UTF16:
        raise InputError(f"{name}: is UTF-16; save it as UTF-8 (or GB18030)")


# --- JSON Lines ---


def _json_blocks(file: ArrivedFile, connection: duckdb.DuckDBPyConnection) -> Iterator[TextBlock]:
    name, mapping = file.name, file.mapping
    columns, row = mapping.columns, 0
    seen = np.zeros(len(columns), dtype=bool)
    keys: set[str] = set()
    for raw in _lines(file):
        numbers = np.arange(row + 1, row + 1 + len(raw), dtype=np.int64)
        table, torn = json_columns(raw, numbers, columns, connection)
        if row == 0:
            keys = _json_keys(raw.slice(0, 1000), connection)
        row += len(raw)
        seen |= np.array([table[f"c{k}"].null_count < len(table) for k in range(len(columns))], dtype=bool)
        yield TextBlock(columns, table, torn)
    if row == 0:
        raise InputError(f"{name}: the file is empty: not one line; deliver it again")
    if not keys:
        raise InputError(f"{name}: not one of its first lines is a JSON object; is `format: jsonl` right?")
    if remarks := _of_unseen_keys(file, [c for c, s in zip(columns, seen, strict=True) if not s], keys, row):
        yield TextBlock(columns, table.slice(0, 0), [], remarks)


def _lines(file: ArrivedFile) -> Iterator[pa.Array]:
    """The file's lines that are not blank, a block at a time; an end of line is LF, CRLF or CR."""
    text, rest, number = open_text(file), b"", 1
    while data := text.read(file.block_bytes):
        data = rest + _with_line_feeds(data)
        end = data.rfind(b"\n") + 1
        if len(data) - end > file.block_bytes:
            number += data.count(b"\n")
            raise InputError(f"{file.name}: line {number:,} is longer than {file.block_size}; is it JSON Lines?")
        number += data.count(b"\n")
        rest = data[end:]
        if len(lines := _parted(data[:end])):
            yield lines
    if rest:
        yield _parted(rest)


def _with_line_feeds(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _parted(data: bytes) -> pa.Array:
    """Lines that are not blank; the bytes are UTF-8."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == LF)
    if data and not data.endswith(b"\n"):
        ends = np.append(ends, len(data))
    # Without the ends of lines in it the text is the data of the array, and each end is as many places earlier.
    offsets = np.zeros(len(ends) + 1, dtype=np.int32)
    offsets[1:] = ends - np.arange(len(ends))
    text = pa.py_buffer(data.translate(None, b"\n"))
    lines = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), text)
    filled = np.diff(offsets) > 0
    return lines if filled.all() else lines.filter(pa.array(filled))


def json_columns(
    raw: pa.Array, rows: np.ndarray, columns: Sequence[str], connection: duckdb.DuckDBPyConnection
) -> tuple[pa.Table, list[tuple[int, str, str]]]:
    """Text columns ``c0``.., ``row`` and ``raw`` of JSON objects; what is no object comes apart.

    A column is the key of that very name, or else a path of keys parted by dots.
    """
    # One call with a list of paths reads each line once; a call a column would read it as often as there are columns.
    pointers = [p for name in columns for p in _pointers(name)]
    listed = ", ".join(literal(p) for p in pointers)
    found, at = [], 1
    for k, name in enumerate(columns):
        several = [f"v[{at + n}]" for n in range(len(_pointers(name)))]
        found.append(f"coalesce({', '.join(several)}) as c{k}")
        at += len(several)
    connection.register("lines", pa.table({"raw": raw, "row": rows}))
    try:
        table = connection.sql(
            f"select {', '.join(found)}, row, raw, v is not null as good from (select row, raw, "
            f"case when starts_with(ltrim(raw), '{{') then try(json_extract_string(raw, [{listed}])) end as v from lines)"
        ).to_arrow_table()
    finally:
        connection.unregister("lines")
    good = table["good"]
    table = table.drop_columns(["good"])
    if pc.all(good).as_py() is not False:
        return table, []
    torn = table.filter(pc.invert(good)).select(["row", "raw"]).to_pylist()
    return table.filter(good), [(t["row"], t["raw"], "is no JSON object") for t in torn]


def _pointers(name: str) -> list[str]:
    """JSON pointers under which a column may stand: the key itself, then the path that its dots write."""
    ways = [[name]] if "." not in name else [[name], name.split(".")]
    return ["/" + "/".join(p.replace("~", "~0").replace("/", "~1") for p in way) for way in ways]


def _json_keys(raw: pa.Array, connection: duckdb.DuckDBPyConnection) -> set[str]:
    connection.register("lines", pa.table({"raw": raw}))
    try:
        found = connection.sql(
            "select distinct unnest(json_keys(raw)) from lines where coalesce(try(json_type(raw)) = 'OBJECT', false)"
        ).fetchall()
    finally:
        connection.unregister("lines")
    return {key for (key,) in found}


def _of_unseen_keys(file: ArrivedFile, unseen: list[str], keys: set[str], rows: int) -> tuple[Finding, ...]:
    """Of keys that no line has: InputError where a field needs one; a remark where one of nearly that name is left over.

    A key that may be absent is often so in all lines of a quiet file, beside another of nearly its name.
    """
    needed = needed_columns(file.mapping)
    free = sorted(keys - set(file.mapping.columns))
    found = []
    for column in unseen:
        close = nearest(column, free)
        used = f"the key {column!r} ({used_for(file.mapping, column)})"
        if column in needed:
            raise InputError(f"{file.name}: no line has {used}; {close}")
        if close.startswith("did you mean"):
            way_out = f"{close} Then say so in {file.mapping.name}.yaml, and take the file `--again`"
            found.append(Finding(f"lack {used}, which no line of their file has; {way_out}", rows, 1))
    return tuple(found)


# --- Parquet ---


def _parquet_blocks(path: Path, name: str, mapping: Mapping, start: bytes) -> Iterator[TextBlock]:
    if start != PARQUET:
        what = "a gzip file" if start[:2] == GZIP else "no Parquet file"
        if start[:2] == GZIP:
            # A gzipped Parquet file is unusual but was asked for: unpacked in memory, for want of random access.
            with pa.CompressedInputStream(pa.OSFile(str(path), "rb"), "gzip") as f:
                data = f.read()
            if data[:4] == PARQUET:
                yield from _blocks_of_parquet(pa.BufferReader(data), name, mapping)
                return
        raise InputError(f"{name}: is {what}; is `format: {mapping.format}` right in {mapping.name}.yaml?")
    yield from _blocks_of_parquet(path, name, mapping)


def _blocks_of_parquet(source: Path | pa.BufferReader, name: str, mapping: Mapping) -> Iterator[TextBlock]:
    try:
        file = pq.ParquetFile(source)
        columns = checked_columns(file.schema_arrow.names, name, mapping)
        row = 1
        for batch in file.iter_batches(batch_size=1 << 17, use_threads=False):
            arrays = [text_of(batch.column(k), columns[k], name) for k in range(len(columns))]
            rows = pa.array(np.arange(row, row + len(batch), dtype=np.int64))
            row += len(batch)
            table = pa.table([*arrays, rows], names=[*(f"c{k}" for k in range(len(columns))), "row"])
            yield TextBlock(columns, table, []).without_blank_rows()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
        raise InputError(
            f"{name}: the Parquet file is damaged ({str(e).splitlines()[0][:200]}); deliver it again"
        ) from None


def text_of(values: pa.Array, column: str, name: str) -> pa.Array:
    """Typed values as the text that a person would write: ISO times, plain decimals, whole floats without ``.0``.

    A stamp with a zone is written with its offset from UTC; NaN is absent; a float so large that its last digits are lost
    keeps its exponent, which tells; lists and structs are refused.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        values, kind = values.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_floating(kind):
        return _floats_as_text(pc.if_else(pc.is_nan(values), None, values))
    if pa.types.is_timestamp(kind):
        # Stamps with a zone are held in UTC; whole seconds are written without a fraction, as people write them.
        plain = values.cast(pa.timestamp(kind.unit)) if kind.tz is not None else values
        try:
            text = plain.cast(pa.timestamp("s")).cast(pa.string())
        except pa.ArrowInvalid:
            text = plain.cast(pa.timestamp("us"), safe=False).cast(pa.string())
        return text if kind.tz is None else pc.binary_join_element_wise(text, "+00:00", "")
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise InputError(f"{name}: column {column!r} is of type {kind}; deliver it as text, a number or a time")
    return values.cast(pa.string())


def _floats_as_text(values: pa.Array) -> pa.Array:
    # Arrow writes an exponent from 11 digits on: phones, ids and milliseconds, which one null among them makes floats.
    if pa.types.is_float16(values.type):
        values = values.cast(pa.float32())
    exact = pc.less(pc.abs(values), WHOLE_FLOATS[values.type.bit_width])
    whole = pc.and_(exact, pc.equal(pc.floor(values), values))
    text = pc.coalesce(pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string()), values.cast(pa.string()))
    odd = pc.and_(pc.is_finite(values), pc.or_(pc.match_substring(text, "e"), pc.invert(exact)))
    odd = pc.fill_null(odd, False)
    written = zip(text.filter(odd).to_pylist(), exact.filter(odd).to_pylist(), strict=True)
    plain = [format(Decimal(t), "f" if holds else "E") for t, holds in written]
    return pc.replace_with_mask(text, odd, pa.array(plain, pa.string()))
