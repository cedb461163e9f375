"""A release as SQL: DuckDB with every table of the lake as a view ``layer.table``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from lake.lake import Lake
from schemas.contracts import contracts

if TYPE_CHECKING:
    from lake.releases import Release

AFTER_THE_RELEASE = ("audiences", "exports", "landing", "ops", "quarantine", "bronze")
"""Layers that a release does not pin: they are written by other steps and shown as they are now."""

TAG_HISTORY = """
create view profile.tag_history as
select uid, tag, value, from_day as valid_from,
       lead(from_day) over (partition by uid, tag order by from_day) as valid_to
from profile.tag_changes
"""


def connect(lake: Lake, at: Release | None) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB whose views read the lake at a release (``at`` None: the newest version of everything).

    ``profile.tag_history`` shows dynamic tags with the days between which each value held (``valid_to`` absent: now).
    Days and stamps are shown in the lake's business zone.
    """
    con = duckdb.connect()
    con.execute("set enable_progress_bar = false")
    con.execute(f"set TimeZone = '{lake.zone}'")
    for layer in sorted({c.layer for c in contracts().values()}):
        con.execute(f'create schema "{layer}"')
    for name, c in contracts().items():
        pinned = at is not None and c.layer not in AFTER_THE_RELEASE
        version = at.tables.get(name) if pinned and at is not None else None
        if pinned and version is None:
            continue
        if lake.version(name) is None:
            continue
        con.register(f"__{c.layer}_{c.table}", lake.dataset(name, version))
        con.execute(f'create view "{c.layer}"."{c.table}" as select * from "__{c.layer}_{c.table}"')
    if _has(con, "tag_changes"):
        con.execute(TAG_HISTORY)
    return con


def _has(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    return bool(con.execute("select 1 from duckdb_views() where view_name = ?", [table]).fetchall())
