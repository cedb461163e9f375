"""What the tasks of the step ``fission`` read beside activity: members, retired uids, products, orders brought."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
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
from jobs.activity.products import products_as_of
from jobs.fission.array_files import joined, load, save
from lake.lake import Lake
from schemas.contracts import NEWEST_FIRST
from schemas.quarantine import literal

NO_CATEGORY = 0


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
        save(self.scratch / "retired", retired=uid, elder=last_elders(uid, elder))
        found: dict[int, list[str]] = {}
        for path in sorted(folder.rglob("*.parquet")):
            found.setdefault(int(path.parent.name.removeprefix("bucket=")), []).append(str(path))
        return found

    def products(self, touches: Sequence[str]) -> None:
        """First day and category (a number from 1, ``NO_CATEGORY`` for none) of every sku code, into ``products``."""
        days = [load(folder, "sku_first_day")[0] for folder in touches]
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
        save(self.scratch / "products", first_day=first_day, category=category)

    def sold(self, touches: Sequence[str]) -> None:
        """Every order brought through a share, in order of its key, with its sharer, into ``sold``.

        Where several sharers are credited with one order, the smallest uid has it.
        """
        sharers = [
            load(folder, "sold_place")[0] + np.int64(int(folder.rsplit("-", 1)[1])) * USERS_PER_BUCKET
            for folder in touches
        ]
        key, sharer = joined(touches, "sold_key"), np.concatenate(sharers)
        order = np.lexsort((sharer, key))
        key, first = np.unique(key[order], return_index=True)
        named = key != 0
        save(self.scratch / "sold", key=key[named], sharer=sharer[order][first][named])

    def _connection(self, *tables: str) -> duckdb.DuckDBPyConnection:
        con = duckdb.connect()
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET enable_progress_bar = false")
        for table in tables:
            con.register(table.replace(".", "_"), self.lake.dataset(table))
        return con
