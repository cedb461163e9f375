"""What each sku was as of a day: the last version of its product in force by then, as features/versions.py has it."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.budget import in_memory
from lake.lake import Lake
from schemas.contracts import NEWEST_FIRST, contract

CODES = "activity.codes"
PRODUCTS = "silver.products"


def products_as_of(
    lake: Lake,
    as_of: dt.date,
    *,
    known_at: dt.datetime | None = None,
) -> pa.Table:
    """``sku_code`` with brand, category and the category above it, one row per code in order of it; null is unknown.

    A version without ``source_time`` counts from when it was ingested. ``known_at`` leaves out what was learned later.
    """

    key = contract(PRODUCTS).key[0]
    next_midnight = dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time(), ZoneInfo(lake.zone))
    values: dict[str, Any] = {"before": next_midnight.astimezone(dt.UTC)}
    if known_at is not None:
        values["known_at"] = known_at
    with in_memory() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("codes", lake.dataset(CODES))
        con.register("products", lake.dataset(PRODUCTS))
        return con.sql(
            f"""
            SELECT c.code AS sku_code, p.brand, p.category, p.category_parent
            FROM codes c LEFT JOIN (
                SELECT * FROM products
                WHERE COALESCE(source_time, _ingested_at) < $before
                    {"" if known_at is None else "AND _ingested_at <= $known_at"}
                QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY {NEWEST_FIRST}) = 1
            ) p ON p.{key} = c.code_value
            WHERE c.code_kind = 'sku' ORDER BY c.code
            """,
            params=values,
        ).to_arrow_table()
