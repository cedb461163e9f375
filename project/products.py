"""What each sku was as of a day: the last version of its product in force by then, as features/versions.py has it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.budget import in_memory
from lake.lake import Lake
from schemas.contracts import NEWEST_FIRST, contract

CODES = "activity.codes"
PRODUCTS = "silver.products"
KEY = contract(PRODUCTS).key[0]


def in_force(known: str = "") -> str:
    """The version of every product that was the last before the moment ``$before``, of those that are ``known``, as SQL."""
    return f"""
        SELECT * FROM products WHERE COALESCE(source_time, _ingested_at) < $before {known}
        QUALIFY row_number() OVER (PARTITION BY {KEY} ORDER BY {NEWEST_FIRST}) = 1
    """


def _after(lake: Lake, as_of: dt.date) -> dt.datetime:
    """The moment at which the day is over."""
    return dt.datetime.combine(as_of + dt.timedelta(days=1), dt.time(), ZoneInfo(lake.zone)).astimezone(dt.UTC)


def skus_named(lake: Lake, as_of: dt.date, names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """By name of a product the codes of the skus that bore it on the day; names that none bore are missing."""
    with in_memory() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.register("codes", lake.dataset(CODES))
        con.register("products", lake.dataset(PRODUCTS))
        found = con.sql(
            f"""
            SELECT p.product_name, list(c.code ORDER BY c.code)
            FROM ({in_force()}) p JOIN codes c ON c.code_kind = 'sku' AND c.code_value = p.{KEY}
            WHERE list_contains($names, p.product_name) GROUP BY ALL
            """,
            params={"before": _after(lake, as_of), "names": list(names)},
        ).fetchall()
    return {name: tuple(codes) for name, codes in found}


def products_as_of(
    lake: Lake,
    as_of: dt.date,
    *,
    known_at: dt.datetime | None = None,
) -> pa.Table:
    """``sku_code`` with brand, category and the category above it, one row per code in order of it; null is unknown.

    A version without ``source_time`` counts from when it was ingested. ``known_at`` leaves out what was learned later.
    """

    values: dict[str, Any] = {"before": _after(lake, as_of)}
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
                {in_force("" if known_at is None else "AND _ingested_at <= $known_at")}
            ) p ON p.{KEY} = c.code_value
            WHERE c.code_kind = 'sku' ORDER BY c.code
            """,
            params=values,
        ).to_arrow_table()
