"""Map task of ingest: versions of a key in whichever month they stand.

A correction may move a row from one month into another and back. Then only the versions of all months tell whether a
row equals the one before it. They are sought for the keys that ``jobs.ingest.settling`` asks for, in one pass over the
feed: other columns of other months are read for these keys alone.
"""

from __future__ import annotations

from typing import Any

from jobs.ingest.parsing import connection
from jobs.ingest.settling import NEWEST, existing_rows
from schemas.contracts import contract
from schemas.quarantine import literal, quoted


def seek(item: dict[str, Any]) -> dict[str, Any]:
    """``feed``, ``keys`` (files of the keys sought), ``existing``, ``own`` and ``remove`` as in settling but of all
    months, ``staged`` (files of the unit's silver), ``out``.

    Writes to ``out`` the versions without ``source_time``: with ``slice`` those that this run brings, and
    without it the newest one that silver has of each key. Gives ``out`` by the name that it has.
    """
    keys = ", ".join(quoted(k) for k in contract(f"silver.{item['feed']}").key)
    files = ", ".join(literal(p) for p in item["keys"])
    sought = f"(select distinct {keys} from read_parquet([{files}], hive_partitioning = false))"
    stamps = "_ingested_at, _file, _row"
    found = []
    if (existing := existing_rows(item)) is not None:
        found.append(
            f"select {keys}, {NEWEST} as row_hash, null::timestamptz as _ingested_at, null::varchar as _file, "
            f"null::bigint as _row, null::varchar as slice from {existing} semi join {sought} using ({keys}) "
            f"where source_time is null group by {keys}"
        )
    if staged := item["staged"]:
        listed, own = (", ".join(literal(v) for v in values) for values in (staged, item["own"]))
        found.append(
            f"select {keys}, row_hash, {stamps}, parse_path(filename)[-2] as slice "
            f"from read_parquet([{listed}], hive_partitioning = false, filename = true) semi join {sought} using ({keys}) "
            f"where source_time is null and _batch_id in ({own})"
        )
    connection().execute(f"copy ({' union all by name '.join(found)}) to {literal(item['out'])} (format parquet)")
    return {"out": item["out"]}
