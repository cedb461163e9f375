"""A release as SQL: DuckDB with every table of the lake as a view ``layer.table``."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from lake.budget import in_memory
from lake.lake import Lake
from lake.releases import Release, lake_at
from schemas.contracts import contracts

TAG_HISTORY = """
create view profile.tag_history as
select uid, tag, value, from_day as valid_from,
       lead(from_day) over (partition by uid, tag order by from_day) as valid_to
from profile.tag_changes
"""


def connect(lake: Lake, at: Release | None, layers: Collection[str] | None = None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB whose views read the lake at a release (``at`` None: the newest version of everything).

    ``layers`` are those whose tables are shown; all if absent, though opening every table takes its time.
    ``profile.tag_history`` shows dynamic tags with the days between which each value held (``valid_to`` absent: now).
    Days and stamps are shown in the lake's business zone.
    """
    shown = lake if at is None else lake_at(lake, at)
    con = in_memory()
    con.execute("set enable_progress_bar = false")
    con.execute(f"set TimeZone = '{lake.zone}'")
    for layer in sorted({c.layer for c in contracts().values()}):
        con.execute(f'create schema "{layer}"')
    for name, c in contracts().items():
        if (layers is not None and c.layer not in layers) or shown.version(name) is None:
            continue
        con.register(f"__{c.layer}_{c.table}", shown.dataset(name))
        con.execute(f'create view "{c.layer}"."{c.table}" as select * from "__{c.layer}_{c.table}"')
    if _has(con, "tag_changes"):
        con.execute(TAG_HISTORY)
    return con


def _has(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(con.execute("select 1 from duckdb_views() where view_name = ?", [table]).fetchall())
