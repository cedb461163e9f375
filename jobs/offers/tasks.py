"""Map tasks of step ``offers``: order parts of a bucket, its pairs of categories, and its rows of ``profile.offers``.

Activity is read once: ``parts_of_bucket`` leaves the bucket's order parts in a file of the run's scratch folder, from
which the other tasks go on when the totals of all buckets are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.cross_purchase import Rules, baskets, next_items, pair_counts
from features.instants import day_number
from features.kernel import Products
from features.kernel.arrays import from_arrow, to_arrow
from features.promotion import Cells, Ints, Parts, Terms, cells, order_parts, terms
from jobs.activity.paid_rows import paid_rows
from lake.lake import partition_path
from lake.spans import span
from schemas.arrow import arrow_schema, file_schema
from schemas.contracts import contract

TABLE = "profile.offers"
LINE_COLUMNS = ("order_key", "sku_code", "on_promotion", "list_amount_minor", "amount_minor")


def parts_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Write the bucket's order parts, its totals by category and day, and its baskets by category.

    ``item``: what ``jobs/activity/paid_rows.py`` reads, ``promotion_days`` and ``basket_days`` (windows), ``products`` (file of
    ``project/products.py``), ``out`` (folder).
    """
    as_of = date.fromisoformat(item["as_of"])
    parts = _order_parts(item)
    out = Path(item["out"])
    out.mkdir(parents=True, exist_ok=True)
    in_window = parts.where(parts.day >= _first_day(as_of, item["promotion_days"]))
    _write(parts, out / "parts.parquet")
    _write(cells(in_window), out / "cells.parquet")
    uid, category = _baskets(parts, as_of, item["basket_days"])
    users = np.bincount(category)
    found = np.flatnonzero(users)
    pq.write_table(pa.table({"category": found, "users": users[found]}), out / "baskets.parquet")
    return {
        "bucket": item["bucket"],
        "parts": str(out / "parts.parquet"),
        "cells": str(out / "cells.parquet"),
        "baskets": str(out / "baskets.parquet"),
        "rows": len(parts),
        "all_baskets": len(np.unique(uid)),
    }


def pairs_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Write how many users of the bucket have both of two of the ``categories`` (ascending numbers) in their basket."""
    uid, chosen = _chosen_baskets(item)
    key, users = pair_counts(uid, chosen, len(item["categories"]))
    out = Path(item["out"])
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"pair": key, "users": users}), out)
    return {"pairs": str(out)}


def offers_of_bucket(item: dict[str, Any]) -> dict[str, Any]:
    """Write the bucket's slice of ``profile.offers``: a row per user with an order part, in order of uid.

    ``item``: ``parts``, ``cells`` (of everybody) and ``rules`` (files), ``categories``, ``names`` (file of the texts
    of categories by number), ``as_of``, ``promotion_days``, ``basket_days``, ``bucket``, ``out`` (staged folder).
    """
    as_of = date.fromisoformat(item["as_of"])
    parts = _read_parts(item["parts"])
    found = terms(parts.where(parts.day >= _first_day(as_of, item["promotion_days"])), _cells(item["cells"]))
    uid, chosen = _chosen_baskets(item)
    next_uid, next_item = next_items(uid, chosen, _rules(item["rules"]))
    numbers = np.asarray(item["categories"], np.int64)
    names = _names(item["names"])
    users = np.unique(parts.uid)
    folder = Path(item["out"]) / partition_path({"as_of": as_of, "bucket": item["bucket"]})
    folder.mkdir(parents=True, exist_ok=True)
    place = np.full(len(users), -1, np.int64)
    place[np.searchsorted(users, next_uid)] = numbers[next_item]
    table = _offers(users, found, names.take(to_arrow(np.maximum(place, 0), place < 0, pa.int64())))
    with span("write", "offers"):
        pq.write_table(table, folder / "part-0.parquet", compression="zstd")
    return {"users": len(users)}


def _order_parts(item: Mapping[str, Any]) -> Parts:
    lines = paid_rows(item, LINE_COLUMNS, max(item["promotion_days"], item["basket_days"]))
    return order_parts(
        lines.user + np.int64(lines.day_rows.rows.base),
        lines.column("day"),
        lines.column("order_key"),
        _categories(item["products"]).of("category", lines.column("sku_code")),
        lines.column("on_promotion"),
        lines.column("list_amount_minor"),
        lines.column("amount_minor"),
    )


def _first_day(as_of: date, days: int) -> int:
    """Number since 1970 of the first of the ``days`` that end on ``as_of``."""
    return day_number(as_of) - days + 1


def _baskets(parts: Parts, as_of: date, days: int) -> tuple[Ints, Ints]:
    chosen = parts.day >= _first_day(as_of, days)
    return baskets(parts.uid[chosen], parts.category[chosen])


def _chosen_baskets(item: Mapping[str, Any]) -> tuple[Ints, Ints]:
    """The bucket's baskets in the chosen categories, which are numbered by their place among them."""
    parts = _read_parts(item["parts"])
    uid, category = _baskets(parts, date.fromisoformat(item["as_of"]), item["basket_days"])
    numbers = np.asarray(item["categories"], np.int64)
    kept = np.isin(category, numbers)
    return uid[kept], np.searchsorted(numbers, category[kept])


def _offers(users: Ints, found: Terms, next_category: pa.Array) -> pa.Table:
    """Rows of the table for ``users``; who has no terms (no order in the promotion window) rests on 0 orders."""
    at = np.searchsorted(users, found.uid)
    orders = np.zeros(len(users), np.int64)
    orders[at] = found.orders
    columns = {"uid": to_arrow(users, None, pa.int64()), "promotion_orders": to_arrow(orders, None, pa.int64())}
    for name, values in (
        ("promotion_order_ratio", found.order_ratio),
        ("discount_depth_ratio", found.depth_ratio),
        ("discount_amount_ratio", found.amount_ratio),
    ):
        whole = np.full(len(users), np.nan)
        whole[at] = values
        columns[name] = to_arrow(whole, np.isnan(whole), pa.float64())
    columns["next_category"] = next_category
    c = contract(TABLE)
    schema = file_schema(arrow_schema(c), c.partitions)
    return pa.table(columns).select(schema.names).cast(schema)


# --- files between the tasks ---


@span("write", "parquet")
def _write(rows: Parts | Cells, path: Path) -> None:
    pq.write_table(pa.table({f.name: to_arrow(getattr(rows, f.name), None, pa.int64()) for f in fields(rows)}), path)


@span("read", "parquet")
def _read(path: str, names: Sequence[str]) -> list[Ints]:
    table = pq.ParquetFile(path).read(columns=list(names), use_threads=False)
    return [from_arrow(table[n], np.dtype(np.int64), None, n) for n in names]


def _read_parts(path: str) -> Parts:
    return Parts(*_read(path, [f.name for f in fields(Parts)]))


def read_cells(path: str) -> Cells:
    return Cells(*_read(path, [f.name for f in fields(Cells)]))


def write_cells(found: Cells, path: Path) -> None:
    _write(found, path)


RULE_COLUMNS = ("left", "right", "left_baskets", "right_baskets", "joint_baskets")


@span("write", "rules")
def write_rules(found: Rules, path: Path) -> None:
    """In their order."""
    pq.write_table(pa.table({n: to_arrow(getattr(found, n), None, pa.int64()) for n in RULE_COLUMNS}), path)


@lru_cache(maxsize=1)
def _rules(path: str) -> Rules:
    left, right, *counts = _read(path, RULE_COLUMNS)
    return Rules(left, right, 0, *counts)


@lru_cache(maxsize=1)
def _cells(path: str) -> Cells:
    return read_cells(path)


@lru_cache(maxsize=1)
def _categories(path: str) -> Products:
    return Products.from_texts(pq.ParquetFile(path).read(use_threads=False))[0]


@lru_cache(maxsize=1)
def _names(path: str) -> pa.Array:
    return pq.ParquetFile(path).read(use_threads=False)["category"].combine_chunks()
