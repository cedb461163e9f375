"""Small files of a slice written together: the table holds the same rows before and after, in fewer files.

Who asks the lake what came since a version (``Lake.difference``) sees nothing of it. Files are only written together if
every step that noted a version has seen the rows of all of them, so that no file is half new to anybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lake import journal
from lake.lake import DataFile, Lake, partition_path
from lake.publish import publish_compacted
from schemas.arrow import file_schema
from schemas.contracts import contract, contracts

LEFT_ALONE = {
    "activity.activity": "its step rebuilds slices of many files",
    "audiences.membership": "every build writes it anew",
    "identity.identifiers": "every run writes it anew",
    "identity.links": "its step writes all together after so many days",
    "identity.users": "every run writes the buckets that changed anew",
}
"""Tables whose files are few already, or not for long; what is written together stays beside them while releases need both."""
ROWS = 1 << 17
"""Rows of a row group."""


@dataclass(frozen=True)
class Bundle:
    """Files of one slice that become one file."""

    files: tuple[DataFile, ...]

    @property
    def rows(self) -> int:
        return sum(f.rows for f in self.files)

    @property
    def bytes(self) -> int:
        return sum(f.bytes for f in self.files)


def noted_versions(lake: Lake) -> dict[str, set[int]]:
    """Versions that the newest publications note as what they were made of: the next run asks what came since."""
    found: dict[str, set[int]] = {}
    for table in lake.versions():
        for noted in lake.metadata(table).values():
            for name, version in noted.items() if isinstance(noted, dict) else ():
                if name in contracts() and isinstance(version, int):
                    found.setdefault(name, set()).add(version)
    return found


def bundles(lake: Lake, table: str, seen: Iterable[int], most_files: int, file_bytes: int) -> list[Bundle]:
    """What is to be written together: of every slice with more than ``most_files`` small files, these, up to ``file_bytes``.

    A file of half that size is not small any more. Rows that came since one of the versions that steps or releases
    have ``seen`` wait until these have them, too.
    """
    if table in LEFT_ALONE:
        return []
    unseen = {f.path for version in seen for f in lake.added_since(table, version)}
    slices: dict[tuple[Any, ...], list[DataFile]] = {}
    for f in lake.files(table):
        if f.bytes < file_bytes / 2 and f.path not in unseen:
            slices.setdefault(tuple(f.partition.values()), []).append(f)
    small = [files for files in slices.values() if len(files) > most_files]
    return [b for files in small for b in _bundled(files, file_bytes) if len(b.files) > 1]


def _bundled(files: Sequence[DataFile], file_bytes: int) -> Iterator[Bundle]:
    held: list[DataFile] = []
    for f in files:
        if held and sum(h.bytes for h in held) + f.bytes > file_bytes:
            yield Bundle(tuple(held))
            held = []
        held.append(f)
    yield Bundle(tuple(held))


def compact(lake: Lake, table: str, chosen: Sequence[Bundle], run_id: str) -> list[DataFile]:
    """Write the bundles, sorted as the contract says, and publish them in one version; gives the new files."""
    version = lake.version(table)
    assert version is not None
    schema = file_schema(lake.schema(table), contract(table).partitions)
    with journal.kept(lake, run_id):
        folder = lake.stage(table, run_id)
        for n, bundle in enumerate(chosen):
            target = folder / partition_path(bundle.files[0].partition) / f"{n:05d}.parquet"
            target.parent.mkdir(parents=True, exist_ok=True)
            paths = lake.local(bundle.files)
            _write(paths, target, _as_in(paths, schema), contract(table).sort)
        new = sorted(lake.staged(table, folder), key=lambda f: Path(f.path).name)
        made = [(f, bundle.files) for f, bundle in zip(new, chosen, strict=True)]
        publish_compacted(lake, table, made, read_version=version, run_id=run_id)
    return new


def _as_in(paths: Sequence[str], schema: pa.Schema) -> pa.Schema:
    """The schema with columns that none of the files lets be absent: readers put tables of several files together as they are."""
    have = [pq.read_schema(path) for path in paths]
    needed = [all(f.name in h.names and not h.field(f.name).nullable for h in have) for f in schema]
    return pa.schema([f.with_nullable(not n) for f, n in zip(schema, needed, strict=True)])


def _write(paths: Sequence[str], target: Path, schema: pa.Schema, sort: Sequence[str]) -> None:
    """The rows of the files in their order, or sorted; columns that an older file lacks are absent in its rows."""
    parts: Iterable[pa.Table] = (_typed(batch, schema) for path in paths for batch in _batches(path))
    if sort:
        whole = pa.concat_tables([schema.empty_table(), *parts])
        # As the engines sort: what is absent comes first.
        keys = [(name, "ascending", "at_start") for name in sort]
        parts = [whole.take(pc.sort_indices(whole, sort_keys=keys))]
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for table in _gathered(parts):
            writer.write_table(table, row_group_size=ROWS)


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches()


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    have: Mapping[str, pa.Array] = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = [have[f.name] if f.name in have else pa.nulls(len(batch), f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _gathered(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    for part in parts:
        held.append(part)
        if sum(map(len, held)) >= ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
