"""What a platform has of an audience, and what a delivery changes in it: who came, and which ids went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from audiences.platforms import PlatformColumn
from lake.budget import in_memory
from project.audience_file import FileRows, id_name
from schemas.quarantine import literal

SENT = "sent.parquet"
"""The file of a delivery that keeps everybody whom the platform has after it, with their ids as they were delivered."""
BATCH = 50_000


@dataclass(frozen=True)
class SentChanges:
    """uids of who came since the delivery before, and a file with the ids that went; None: there was no delivery before."""

    added: pa.Array | None
    removed: Path | None
    people_removed: int = 0

    def is_added(self, uids: pa.ChunkedArray) -> pa.ChunkedArray | None:
        """Which rows are of people who came; None: all."""
        return None if self.added is None else pc.is_in(uids, value_set=self.added)

    def removed_rows(self) -> Iterator[pa.RecordBatch]:
        if self.removed is not None:
            yield from pq.ParquetFile(self.removed).iter_batches(BATCH)


def write_sent(path: Path, found: FileRows, columns: Sequence[PlatformColumn]) -> None:
    """The ids of every row."""
    names = ["uid", *_ids(columns)]
    schema = pa.schema([("uid", pa.int64()), *((n, pa.string()) for n in names[1:])])
    with pq.ParquetWriter(path, schema) as out:
        for table in found.tables():
            out.write_table(table.select(names).cast(schema))
    path.chmod(0o600)


def changes_between(before: Path | None, now: Path, columns: Sequence[PlatformColumn], scratch: Path) -> SentChanges:
    """What to add and to remove, so that a platform that has what was sent before has what is sent now.

    An id is removed where nobody has it any more in its column: one that went over to another person stays.
    """
    if before is None:
        return SentChanges(None, None)
    ids = [f'"{n}"' for n in _ids(columns)]

    def lacks(name: str, file: str) -> str:
        return f"({name} is not null and {name} not in (select {name} from {file} where {name} is not null))"

    gone = ", ".join(f"case when {lacks(n, 'there')} then {n} end as {n}" for n in ids)
    removed = scratch / "removed.parquet"
    with in_memory() as con:
        # By their datasets: in a path brackets and quotes would mean something to DuckDB.
        con.register("was", pads.dataset(before))
        con.register("there", pads.dataset(now))
        came = con.sql(f"select uid from there where {' or '.join(lacks(n, 'was') for n in ids)} order by uid")
        added = came.to_arrow_table()["uid"].combine_chunks()
        some = " or ".join(f"{n} is not null" for n in ids)
        told = f"select * from (select uid, {gone} from was) where {some} order by uid"
        con.execute(f"copy ({told}) to {literal(str(removed))} (format parquet)")
    return SentChanges(added, removed, pq.ParquetFile(removed).metadata.num_rows)


def _ids(columns: Sequence[PlatformColumn]) -> list[str]:
    return [id_name(i) for i, c in enumerate(columns) if c.id is not None]
