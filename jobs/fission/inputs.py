"""What the tasks of the step ``fission`` read beside activity: members, retired uids, products, orders brought."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from features.fission.touches import NOBODY
from features.fission.uids import last_elders
from features.kernel.arrays import from_arrow
from features.kernel.rows import NEVER as NO_DAY
from features.kernel.rows import USERS_PER_BUCKET
from features.population import end_of_day
from jobs.fission.array_files import load_arrays, save_arrays
from lake.budget import in_memory
from lake.lake import Lake
from project.products import products_as_of
from schemas.contracts import NEWEST_FIRST
from schemas.quarantine import literal

NO_CATEGORY = 0
MEMORY = 2 << 30
"""What DuckDB may hold of members and ids; what is more is spilled."""
SORTED_ORDERS = 4_000_000
"""Orders brought that are sorted at a time: some 60 bytes each."""


class FissionInputs:
    """Inputs as of a day, written below ``scratch`` for the tasks."""

    def __init__(self, lake: Lake, as_of: dt.date, known_at: dt.datetime | None, scratch: Path):
        self.lake, self.as_of, self.known_at, self.scratch = lake, as_of, known_at, scratch
        self.learned = "" if known_at is None else "WHERE _ingested_at <= $known_at"
        self.values: dict[str, Any] = {"until": end_of_day(as_of, lake.zone)}
        if known_at is not None:
            self.values["known_at"] = known_at

    def people(self) -> dict[int, list[str]]:
        """Write when every member registered, who sells, and who invited them; files by bucket. And retired uids.

        Registration is the earliest of a person's records, the rest is of the record in force at the end of the day,
        as features/population.py has it.
        """
        folder = self.scratch / "members"
        folder.mkdir(parents=True, exist_ok=True)
        with self._connection("silver.members", "identity.identifiers", "identity.users") as con:
            con.execute(
                f"""
                COPY (
                    WITH owners AS (
                        SELECT id_value AS member_id, min(uid) AS uid FROM identity_identifiers
                        WHERE id_kind = 'member' AND until_day IS NULL GROUP BY 1
                    ), versions AS (
                        SELECT member_id, registered_at, distributor_level, inviter_member_id,
                               source_time, _ingested_at, _file, _row
                        FROM silver_members {self.learned}
                    ), latest AS (
                        SELECT member_id, registered_at FROM versions
                        QUALIFY row_number() OVER (PARTITION BY member_id ORDER BY {NEWEST_FIRST}) = 1
                    ), registered AS (
                        SELECT uid, min(registered_at) AS registered_at
                        FROM latest JOIN owners USING (member_id) GROUP BY uid
                    ), in_force AS (
                        SELECT uid, distributor_level, inviter_member_id FROM versions JOIN owners USING (member_id)
                        WHERE COALESCE(source_time, _ingested_at) <= $until
                        QUALIFY row_number() OVER (PARTITION BY uid ORDER BY {NEWEST_FIRST}, member_id) = 1
                    )
                    SELECT CAST(r.uid // {USERS_PER_BUCKET} AS INTEGER) AS bucket, r.uid, registered_at,
                           distributor_level,
                           CASE WHEN f.inviter_member_id IS NOT NULL THEN COALESCE(i.uid, {NOBODY}) END AS inviter_uid
                    FROM registered r LEFT JOIN in_force f ON f.uid = r.uid
                    LEFT JOIN owners i ON i.member_id = f.inviter_member_id
                ) TO {literal(str(folder))} (FORMAT parquet, PARTITION_BY (bucket), OVERWRITE_OR_IGNORE)
                """,
                self.values,
            )
            retired = con.sql(
                "SELECT uid, COALESCE(merged_into_uid, -1) AS elder FROM identity_users "
                "WHERE retired_day IS NOT NULL ORDER BY uid"
            ).to_arrow_table()
        uid, elder = (from_arrow(retired[n], np.dtype(np.int64), None, n) for n in ("uid", "elder"))
        save_arrays(self.scratch / "retired", retired=uid, elder=last_elders(uid, elder))
        found: dict[int, list[str]] = {}
        for path in self.lake.store.below(folder):
            found.setdefault(int(Path(path).parent.name.removeprefix("bucket=")), []).append(path)
        return found

    def products(self, touches: Sequence[str]) -> None:
        """First day and category (a number from 1, ``NO_CATEGORY`` for none) of every sku code, into ``products``."""
        days = [load_arrays(folder, "sku_first_day")[0] for folder in touches]
        first_day = np.full(max(map(len, days)), NO_DAY, np.int32)
        for found in days:
            np.minimum(first_day[: len(found)], found, out=first_day[: len(found)])
        table = products_as_of(self.lake, self.as_of, known_at=self.known_at)
        code = from_arrow(table["sku_code"], np.dtype(np.int64), None, "sku_code")
        texts = table["category"].combine_chunks().dictionary_encode()
        number = from_arrow(texts.indices, np.dtype(np.int32), NO_CATEGORY - 1, "category") + 1
        category = np.full(len(first_day), NO_CATEGORY, np.int32)
        seen = code < len(category)
        category[code[seen]] = number[seen]
        save_arrays(self.scratch / "products", first_day=first_day, category=category)

    def sold(self, touches: Sequence[str]) -> None:
        """Every order brought through a share, in order of its key, with its sharer, into ``sold``.

        Where several sharers are credited with one order, the smallest uid has it. Keys are sorted range by range, so
        that memory is ``SORTED_ORDERS`` orders' however many were brought.
        """
        write_sold(touches, self.scratch / "sold")

    def _connection(self, *tables: str) -> duckdb.DuckDBPyConnection:
        con = in_memory(most_bytes=MEMORY)
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")
        con.execute("SET preserve_insertion_order = false")
        for table in tables:
            con.register(table.replace(".", "_"), self.lake.dataset(table))
        return con


def write_sold(touches: Sequence[str], out: Path) -> None:
    """Arrays ``key`` (ascending, distinct, none 0) and ``sharer`` of what ``touches`` (folders of buckets) brought."""
    out.mkdir(parents=True, exist_ok=True)
    types = {"key": np.dtype(np.int64), "sharer": np.dtype(np.int64)}
    orders = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((out / f"{name}.raw").open("wb")) for name in types}
        for low, high in _ranges(touches):
            key, sharer = _brought(touches, low, high)
            orders += len(key)
            for name, values in (("key", key), ("sharer", sharer)):
                files[name].write(values.astype(types[name]).tobytes())
    for name, kind in types.items():
        with (out / f"{name}.npy").open("wb") as whole, (out / f"{name}.raw").open("rb") as raw:
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (orders,)}
            np.lib.format.write_array_header_1_0(whole, header)
            shutil.copyfileobj(raw, whole)
        (out / f"{name}.raw").unlink()


def _ranges(touches: Sequence[str]) -> list[tuple[int, int]]:
    """Ranges of keys, first to last, that hold some ``SORTED_ORDERS`` orders each, told from a sample."""
    keys = [load_arrays(folder, "sold_key")[0] for folder in touches]
    every = max(1, sum(map(len, keys)) // SORTED_ORDERS)
    limits = np.iinfo(np.int64)
    if every == 1:
        return [(int(limits.min), int(limits.max))]
    sample = np.sort(np.concatenate([k[:: min(every, 1_000)] for k in keys]))
    cuts = np.unique(sample[np.arange(1, every) * len(sample) // every]).tolist()
    return list(zip([int(limits.min), *cuts], [*(c - 1 for c in cuts), int(limits.max)], strict=True))


def _brought(touches: Sequence[str], low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct orders with keys ``low`` to ``high``, ascending, and the smallest uid that brought each."""
    keys, sharers = [], []
    for folder in touches:
        key, place = load_arrays(folder, "sold_key", "sold_place")
        inside = np.flatnonzero((key >= low) & (key <= high) & (key != 0))
        keys.append(key[inside])
        sharers.append(place[inside] + np.int64(int(folder.rsplit("-", 1)[1])) * USERS_PER_BUCKET)
    key, sharer = np.concatenate(keys), np.concatenate(sharers)
    order = np.lexsort((sharer, key))
    key, first = np.unique(key[order], return_index=True)
    return key, sharer[order][first]
