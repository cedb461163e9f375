"""Where our lake and the specialist's database differ: nothing may, or no figure is shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from benchmarks.specialist.persons import KINDS
from features.facts import Fact
from lake.sql import connect
from project.folder import Project
from schemas.contracts import feeds

SEGMENTS = (
    *("rfm_recency", "rfm_frequency", "rfm_monetary", "rfm_segment", "rfm_value_segment", "aipl_stage", "lifecycle"),
    *("is_member", "register_day", "follow_day", "register_city", "gender", "member_tier", "days_since_last_purchase"),
)
HALF_A_CENT = 0.005000001
"""Means are rounded to two places on our side."""


def of_silver(project: Project, database: Path) -> list[str]:
    """Feeds of which other numbers of rows were taken or rejected."""
    with duckdb.connect(str(database), read_only=True) as con:
        theirs = {f: (s, r) for f, s, r in con.execute("SELECT feed, rows_silver, rows_rejected FROM taken").fetchall()}
    with connect(project.lake, None, ["silver", "quarantine"]) as lake:
        tables = {f"{s}.{t}" for s, t in lake.execute("SELECT schema_name, view_name FROM duckdb_views()").fetchall()}

        def rows(layer: str, feed: str) -> int:
            name = f"{layer}.{feed}"
            return int(lake.execute(f"SELECT count(*) FROM {name}").fetchall()[0][0]) if name in tables else 0

        ours = {c.table: (rows("silver", c.table), rows("quarantine", c.table)) for c in feeds()}
    return [
        f"{feed}: {ours[feed]} rows of silver and quarantine, DuckDB {theirs.get(feed, (0, 0))}"
        for feed in ours
        if ours[feed] != theirs.get(feed, (0, 0))
    ]


def of_everything(
    project: Project, database: Path, facts: Sequence[Fact], as_of: date, *, with_audiences: bool
) -> list[str]:
    """Differences in silver, persons, facts and segments of users, and in members of the script's audiences, if asked.

    Users are matched by their ids: a lake that grew day by day has given other numbers than one made at once.
    """
    found = of_silver(project, database)
    queries = {
        "ids": "SELECT id_kind, id_value, uid, from_day, until_day FROM identity.identifiers",
        "profile": f"SELECT * FROM profile.profile WHERE as_of = DATE '{as_of}'",
    } | ({"members": "SELECT audience, uid FROM audiences.membership"} if with_audiences else {})
    with connect(project.lake, None, ["identity", "profile", "audiences"]) as lake, duckdb.connect() as con:
        con.execute(f"ATTACH '{database}' AS theirs (READ_ONLY)")
        for name, query in queries.items():
            con.register(name, lake.sql(query).to_arrow_table())
        kinds = " ".join(f"WHEN '{rank}' THEN '{kind}'" for kind, rank in KINDS.items())
        con.execute(f"""
            CREATE TABLE their_ids AS SELECT CASE id[1] {kinds} END AS id_kind, id[2:] AS id_value, * FROM theirs.identifiers;
            CREATE TABLE matched AS
            SELECT DISTINCT i.uid, t.uid AS their_uid FROM ids i JOIN their_ids t
            ON i.id_kind = t.id_kind AND i.id_value = t.id_value AND i.from_day IS NOT DISTINCT FROM t.from_day""")
        theirs = "SELECT id_kind, id_value, m.uid, from_day, until_day FROM their_ids t JOIN matched m ON m.their_uid = t.uid"
        found += _rows(con, "ids with their persons", "FROM ids", theirs)
        found += _rows(con, "users", "SELECT uid FROM profile", _mapped("uid", "people"))
        if with_audiences:
            found += _rows(con, "members of audiences", "FROM members", _mapped("audience, uid", "membership"))
        known = {row[0] for row in con.execute("DESCRIBE profile").fetchall()}
        means = {f.column for f in facts if f.agg == "mean"}
        for column in dict.fromkeys([*SEGMENTS, *(f.column for f in facts if f.column in known)]):
            found += _values(con, column, is_rounded=column in means)
    return found


def _mapped(columns: str, table: str) -> str:
    """Rows of one of their tables with our numbers of users."""
    return f"SELECT {columns.replace('uid', 'm.uid')} FROM theirs.{table} t JOIN matched m ON m.their_uid = t.uid"


def _rows(con: duckdb.DuckDBPyConnection, what: str, ours: str, theirs: str) -> list[str]:
    only = [
        int(con.execute(f"SELECT count(*) FROM (({a}) EXCEPT ALL ({b}))").fetchall()[0][0])
        for a, b in ((ours, theirs), (theirs, ours))
    ]
    return [f"{what}: {only[0]} are ours alone, {only[1]} DuckDB's alone"] if any(only) else []


def _values(con: duckdb.DuckDBPyConnection, column: str, *, is_rounded: bool) -> list[str]:
    """Users with another value; ``unknown`` is our word for none."""
    differs = f"nullif(CAST(o.{column} AS VARCHAR), 'unknown') IS DISTINCT FROM nullif(CAST(t.{column} AS VARCHAR), 'unknown')"
    if is_rounded:
        differs = f"(o.{column} IS NULL) <> (t.{column} IS NULL) OR abs(o.{column} - t.{column}) > {HALF_A_CENT}"
    users, uid, our, their = con.execute(
        f"SELECT count(*), any_value(o.uid), any_value(o.{column}), any_value(t.{column}) FROM profile o "
        f"JOIN matched m ON m.uid = o.uid JOIN theirs.people t ON t.uid = m.their_uid WHERE {differs}"
    ).fetchall()[0]
    return [f"{column}: {users:,} users; uid {uid}: ours {our!r}, DuckDB {their!r}"] if users else []
