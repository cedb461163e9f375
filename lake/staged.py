"""What a staged Parquet file holds, told once by whoever wrote it or read from its footer: rows, size, schema, nulls."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from lake.store import Store


@dataclass(frozen=True)
class Described:
    """One Parquet file. ``nulls`` has the columns whose nulls every row group counts; ``schema`` is Arrow's, as text."""

    rows: int
    bytes: int
    modified_ms: int
    schema: str
    nulls: dict[str, int]

    @property
    def arrow_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema)))


def describe(path: str | Path) -> dict[str, Any]:
    """Of a local file, as plain values that a task can return; other files than Parquet are nothing but bytes."""
    stat = Path(path).stat()
    size, modified = stat.st_size, int(stat.st_mtime * 1000)
    if not str(path).endswith(".parquet"):
        return asdict(Described(0, size, modified, "", {}))
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        text = base64.b64encode(schema.remove_metadata().serialize().to_pybytes()).decode()
        return asdict(Described(file.metadata.num_rows, size, modified, text, _nulls(file.metadata, schema)))


def described(store: Store, path: str) -> Described:
    """Of a staged file, wherever it was written."""
    return Described(**(store.described.get(path) or describe(path)))


def _nulls(footer: pq.FileMetaData, schema: pa.Schema) -> dict[str, int]:
    nulls: dict[str, int] = {}
    for i, field in enumerate(schema):
        parts = [footer.row_group(g).column(i).statistics for g in range(footer.num_row_groups)]
        if parts and all(p is not None and p.has_null_count for p in parts):
            nulls[field.name] = sum(p.null_count for p in parts)
    return nulls
