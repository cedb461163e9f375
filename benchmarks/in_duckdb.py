"""The workload's facts in DuckDB: one scan a table with conditional aggregates, distinct counts from the last day of
each (user, value), which is the fastest form that was found (docs in benchmarks/README.md).

``python -m benchmarks.in_duckdb FOLDER OUT [native|parquet] [whole|by_bucket]``: from DuckDB's own file or from
Parquet, all users in one statement or one statement per 100,000 users.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from benchmarks.workload import AS_OF_DAY as D
from benchmarks.workload import CORES, described
from features.kernel.rows import USERS_PER_BUCKET
from schemas.behaviours import BEHAVIOURS as B

HALF_LIFE = 30.0
TABLES = ("browse", "pay", "shares")


def prepare(folder: Path) -> None:
    """The narrow tables as DuckDB's own file (not part of the race)."""
    path = folder / "peers" / "shop.duckdb"
    if path.exists():
        return
    with duckdb.connect(str(path)) as con:
        for name in TABLES:
            con.execute(f"CREATE TABLE {name} AS FROM read_parquet('{folder}/peers/{name}.parquet')")


def _rows(condition: str, window: int | None) -> str:
    inside = "" if window is None else f" AND day > {D - window}"
    return f"count(*) FILTER ({condition}{inside})"


def _recent(column: str, window: int) -> str:
    return f"count(*) FILTER ({column} > {D - window})"


def _weight(window: int) -> str:
    """Whole multiples of 2^-32, as definitions.md's weights are summed."""
    worth = f"CAST(round_even(pow(0.5, ({D} - day) / {HALF_LIFE}) * 4294967296.0, 0) AS BIGINT)"
    return f"sum({worth}) FILTER (day > {D - window})"


def statement(first: int, users: int, out: Path, narrow: bool) -> str:
    """All facts of ``users`` users from uid ``first`` on; ``narrow`` where there are others."""
    of_users = f"SELECT * FROM shop.{{}} WHERE uid >= {first} AND uid < {first + users}" if narrow else "FROM shop.{}"
    sources = ", ".join(f"{name} AS ({of_users.format(name)})" for name in TABLES)
    view, cart, favourite = (f"behaviour = {B[b]}" for b in ("view", "cart", "favourite"))
    windows = (7, 30, 90, 365)
    browse = [f"{_rows(view, w)} AS views_{w}d" for w in windows]
    browse += [f"{_rows('true', w)} AS browse_{w}d" for w in windows]
    browse += [f"{_rows(cart, w)} AS carts_{w}d" for w in (30, 90)]
    browse += [f"{_rows(favourite, w)} AS favourites_{w}d" for w in (30, 90)]
    browse += ["min(day) AS first_browse_day_ever", "max(day) AS last_browse_day_ever"]
    paid, back = f"behaviour = {B['pay']}", f"behaviour = {B['refund_of_order']}"
    pay = [
        f"CAST(coalesce(sum(amount) FILTER ({paid} AND day > {D - w}), 0) AS BIGINT) AS paid_amount_{w}d"
        for w in windows
    ]
    for w in (90, 365):
        signed = f"CASE WHEN {back} THEN -amount ELSE amount END"
        pay.append(f"CAST(coalesce(sum({signed}) FILTER (day > {D - w}), 0) AS BIGINT) AS net_amount_{w}d")
    pay.append(f"CAST(coalesce(sum(quantity) FILTER ({paid} AND day > {D - 365}), 0) AS BIGINT) AS units_365d")
    pay += [
        f"{how}(day) FILTER ({paid}) AS {name}_purchase_day_ever" for how, name in (("min", "first"), ("max", "last"))
    ]
    valid = f"(void IS NULL OR void > {D}) AND valid_from <= {D}"
    shared, opened = f"behaviour = {B['share']}", f"behaviour = {B['share_opened']}"
    shares = [f"{_rows(shared, w)} AS shares_{w}d" for w in windows] + [f"{_rows(opened, 90)} AS shares_opened_90d"]

    def best(value: str) -> str:
        return f"(max({{w: weight, t: latest, v: -{value}}}) FILTER (weight IS NOT NULL)).v * -1"

    return f"""
    COPY (
    WITH {sources},
    browsed AS (SELECT uid, {", ".join(browse)} FROM browse GROUP BY uid),
    active AS (SELECT uid, {", ".join(f"{_recent('day', w)} AS active_days_{w}d" for w in windows)}
        FROM (SELECT DISTINCT uid, day FROM browse) GROUP BY uid),
    categories AS (SELECT uid, {", ".join(f"{_recent('last', w)} AS view_categories_{w}d" for w in (30, 90, 365))},
            {best("category")} AS preferred_category_90d
        FROM (SELECT uid, category, max(day) AS last, max("occurred_at") AS latest, {_weight(90)} AS weight
              FROM browse WHERE {view} AND day > {D - 365} GROUP BY uid, category) GROUP BY uid),
    brands AS (SELECT uid, {", ".join(f"{_recent('last', w)} AS view_brands_{w}d" for w in (90, 365))},
            {best("brand")} AS preferred_brand_365d
        FROM (SELECT uid, brand, max(day) AS last, max("occurred_at") AS latest, {_weight(365)} AS weight
              FROM browse WHERE {view} AND day > {D - 365} GROUP BY uid, brand) GROUP BY uid),
    valid AS (SELECT * FROM pay WHERE {valid}),
    bought AS (SELECT uid, {", ".join(pay)} FROM valid GROUP BY uid),
    ordered AS (SELECT uid, {", ".join(f"{_recent('day', w)} AS orders_{w}d" for w in windows)}
        FROM (SELECT uid, order_key, max(day) AS day FROM valid WHERE {paid} GROUP BY uid, order_key) GROUP BY uid),
    purchases AS (SELECT uid, {_recent("day", 365)} AS purchase_days_365d, count(*) AS purchase_days_ever
        FROM (SELECT DISTINCT uid, day FROM valid WHERE {paid}) GROUP BY uid),
    sharing AS (SELECT uid, {", ".join(shares)} FROM shares GROUP BY uid),
    reached AS (SELECT uid, {", ".join(f"{_recent('last', w)} AS people_reached_{w}d" for w in (90, 365))}
        FROM (SELECT uid, peer, max(day) AS last FROM shares WHERE {opened} AND peer <> uid GROUP BY uid, peer) GROUP BY uid)
    SELECT u.uid, * EXCLUDE (uid)
    FROM (SELECT CAST(range AS INTEGER) AS uid FROM range({first}, {first + users})) u
    LEFT JOIN browsed USING (uid) LEFT JOIN active USING (uid) LEFT JOIN categories USING (uid)
    LEFT JOIN brands USING (uid) LEFT JOIN bought USING (uid) LEFT JOIN ordered USING (uid)
    LEFT JOIN purchases USING (uid) LEFT JOIN sharing USING (uid) LEFT JOIN reached USING (uid)
    ) TO '{out}' (FORMAT parquet)
    """


def main(folder: Path, out: Path, storage: str = "native", extent: str = "whole") -> None:
    users = described(folder)["users"]
    step = users if extent == "whole" else USERS_PER_BUCKET
    with duckdb.connect() as con:
        con.execute(f"SET threads = {CORES}; SET preserve_insertion_order = false")
        if storage == "native":
            con.execute(f"ATTACH '{folder}/peers/shop.duckdb' AS shop (READ_ONLY)")
        else:
            con.execute("CREATE SCHEMA shop")
            for name in TABLES:
                con.execute(f"CREATE VIEW shop.{name} AS FROM read_parquet('{folder}/peers/{name}.parquet')")
        for first in range(0, users, step):
            here = min(step, users - first)
            con.execute(statement(first, here, out / f"from-{first}.parquet", narrow=here < users))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
