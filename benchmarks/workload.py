"""The workload: a shop of a million users, and the windowed facts that everybody computes.

``generate`` writes the same rows as files of ``activity`` (one file a bucket, and one file a bucket and month) and as
what serves the peers best: three narrow tables (browse, pay, shares), sorted by user and time, with brand and category
in the rows so that a peer joins nothing. Seeded: the same arguments give the same rows.
"""

from __future__ import annotations

import json
import os
import shutil
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.kernel.rows import USERS_PER_BUCKET
from schemas.arrow import arrow_schema
from schemas.behaviours import BEHAVIOURS as B
from schemas.contracts import contract

AS_OF = date(2026, 6, 30)
AS_OF_DAY = (AS_OF - date(1970, 1, 1)).days
DAYS = 400
ZONE = "Asia/Shanghai"
ZONE_US = 8 * 3_600_000_000
DAY_US = 86_400_000_000
SKUS, BRANDS, CATEGORIES = 20_000, 500, 300
BROWSE_MIX = {
    "exposure": 0.15,
    "click": 0.1,
    "view": 0.55,
    "search": 0.06,
    "favourite": 0.05,
    "cart": 0.06,
    "video": 0.03,
}
PER_USER = {"browse": 10.0, "orders": 1.0, "shares": 0.5}
OWN_OPENS = 0.02
"""Share of opens that are of one's own card. By chance one user in a million has one, so that a small race missed it."""
SEED = 20260630
CORES = 2
FORM = 2
"""Raised whenever the same arguments give other rows, so that an older folder is made anew."""


def _counted(prefix: str, windows: tuple[int | None, ...], **fact: Any) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}_{'ever' if w is None else f'{w}d'}", "window": w, **fact} for w in windows]


VIEWED = {"from": ["view"]}
BROWSED = {"from": ["exposure", "click", "view", "search", "favourite", "cart", "video"]}
PAID = {"from": ["pay"]}
SHARED = {"from": ["share"]}

FACTS: list[dict[str, Any]] = [
    *_counted("views", (7, 30, 90, 365), **VIEWED, measure="rows", agg="count"),
    *_counted("browse", (7, 30, 90, 365), **BROWSED, measure="rows", agg="count"),
    *_counted("carts", (30, 90), **{"from": ["cart"]}, measure="rows", agg="count"),
    *_counted("favourites", (30, 90), **{"from": ["favourite"]}, measure="rows", agg="count"),
    *_counted("active_days", (7, 30, 90, 365), **BROWSED, measure="days", agg="count"),
    *_counted("view_categories", (30, 90, 365), **VIEWED, measure="category", agg="distinct"),
    *_counted("view_brands", (90, 365), **VIEWED, measure="brand", agg="distinct"),
    *_counted("first_browse_day", (None,), **BROWSED, measure="day", agg="first"),
    *_counted("last_browse_day", (None,), **BROWSED, measure="day", agg="last"),
    *_counted("preferred_category", (90,), **VIEWED, measure="category", agg="preferred"),
    *_counted("preferred_brand", (365,), **VIEWED, measure="brand", agg="preferred"),
    *_counted("orders", (7, 30, 90, 365), **PAID, measure="orders", agg="count"),
    *_counted("paid_amount", (7, 30, 90, 365), **PAID, measure="amount", agg="sum"),
    *_counted("net_amount", (90, 365), **PAID, measure="net_amount", agg="sum"),
    *_counted("units", (365,), **PAID, measure="quantity", agg="sum"),
    *_counted("purchase_days", (365, None), **PAID, measure="days", agg="count"),
    *_counted("first_purchase_day", (None,), **PAID, measure="day", agg="first"),
    *_counted("last_purchase_day", (None,), **PAID, measure="day", agg="last"),
    *_counted("shares", (7, 30, 90, 365), **SHARED, measure="rows", agg="count"),
    *_counted("shares_opened", (90,), **{"from": ["share_opened"]}, measure="rows", agg="count"),
    *_counted("people_reached", (90, 365), **{"from": ["share_opened"]}, measure="peer", agg="distinct"),
]


def sku_name(code: int) -> str:
    return f"sku-{code:06d}"


def products() -> pa.Table:
    """Brand and category of every sku; the code of a text is its place in text order, from 1."""
    r = np.random.default_rng(SEED)
    sku = np.arange(1, SKUS + 1, dtype=np.int32)
    category = 1 + (r.random(SKUS) ** 2 * CATEGORIES).astype(np.int32)
    brand = 1 + (r.random(SKUS) ** 2 * BRANDS).astype(np.int32)
    return pa.table(
        {
            "sku_code": sku,
            "brand": [f"brand-{b:04d}" for b in brand],
            "category": [f"category-{c:04d}" for c in category],
            "category_parent": [f"parent-{c // 10:04d}" for c in category],
            "brand_code": brand,
            "category_code": category,
        }
    )


def bucket_rows(bucket: int, users: int, all_users: int) -> pa.Table:
    """Activity of one bucket, sorted as the contract says."""
    r = np.random.default_rng([SEED, bucket])
    taste = r.lognormal(0, 1.2, users)
    share_of = taste / taste.sum()
    parts: list[dict[str, np.ndarray]] = []

    def events(n: int) -> dict[str, np.ndarray]:
        user = np.repeat(np.arange(users), r.multinomial(n, share_of))
        # more happens lately; nights are quiet
        day = AS_OF_DAY - (DAYS * r.random(len(user)) ** 1.4).astype(np.int64)
        second = (r.beta(3, 2, len(user)) * 86_399).astype(np.int64)
        at = day * DAY_US + second * 1_000_000 - ZONE_US
        sku = 1 + (SKUS * r.random(len(user)) ** 3).astype(np.int32)
        return {"uid": user + bucket * USERS_PER_BUCKET, "occurred_at": at, "day": day, "sku_code": sku}

    browse = events(int(users * PER_USER["browse"]))
    codes = np.array([B[b] for b in BROWSE_MIX])
    weights = np.array(list(BROWSE_MIX.values()))
    browse["behaviour_code"] = r.choice(codes, len(browse["uid"]), p=weights / weights.sum())
    parts.append(browse)

    orders = events(int(users * PER_USER["orders"]))
    count = len(orders["uid"])
    key = r.integers(-(2**62), 2**62, count)
    void = np.where(r.random(count) < 0.03, orders["day"] + r.integers(0, 15, count), 0)
    parts.append({**orders, "behaviour_code": np.full(count, B["order"]), "order_key": key, "void_day": void})
    lines = np.repeat(np.arange(count), 1 + (r.random(count) < 0.3) + (r.random(count) < 0.1))
    price = 100 + (r.lognormal(8, 1, len(lines))).astype(np.int64)
    quantity = 1 + r.poisson(0.3, len(lines))
    pay = {name: values[lines] for name, values in orders.items()} | {
        "behaviour_code": np.full(len(lines), B["pay"]),
        "sku_code": 1 + (SKUS * r.random(len(lines)) ** 3).astype(np.int32),
        "order_key": key[lines],
        "void_day": void[lines],
        "quantity": quantity,
        "list_amount_minor": price * quantity,
        "amount_minor": price * quantity * 9 // 10,
        "on_promotion": r.random(len(lines)) < 0.4,
    }
    parts.append(pay)
    back = np.flatnonzero(r.random(count) < 0.04)
    given = orders["day"][back] + r.integers(0, 20, len(back))
    money = r.integers(1, 90, len(back))
    refund = {name: values[back] for name, values in orders.items()} | {"order_key": key[back], "amount_minor": money}
    parts.append({**refund, "behaviour_code": np.full(len(back), B["refund_of_order"]), "valid_from_day": given})
    parts.append(
        {
            **refund,
            "behaviour_code": np.full(len(back), B["refund"]),
            "day": given,
            "occurred_at": refund["occurred_at"] + (given - refund["day"]) * DAY_US,
        }
    )
    for behaviour, n in (("share", PER_USER["shares"]), ("share_opened", PER_USER["shares"])):
        shared = events(int(users * n))
        shared["behaviour_code"] = np.full(len(shared["uid"]), B[behaviour])
        if behaviour == "share_opened":
            own = r.random(len(shared["uid"])) < OWN_OPENS
            shared["peer_uid"] = np.where(own, shared["uid"], r.integers(0, all_users, len(own)))
        parts.append(shared)
    return _as_activity(bucket, parts)


def _as_activity(bucket: int, parts: list[dict[str, np.ndarray]]) -> pa.Table:
    def column(name: str, default: int = 0) -> np.ndarray:
        return np.concatenate([p.get(name, np.full(len(p["uid"]), default, np.int64)).astype(np.int64) for p in parts])

    found = {
        name: column(name)
        for name in ("uid", "occurred_at", "day", "behaviour_code", "sku_code", "order_key", "quantity")
    }
    found |= {name: column(name) for name in ("list_amount_minor", "amount_minor", "on_promotion", "void_day")}
    found["peer_uid"] = column("peer_uid", -1)
    found["valid_from_day"] = np.maximum(column("valid_from_day"), found["day"])
    known = found["day"] <= AS_OF_DAY
    order = np.lexsort(
        (found["sku_code"], found["order_key"], found["behaviour_code"], found["occurred_at"], found["uid"])
    )
    order = order[known[order]]
    found = {name: values[order] for name, values in found.items()}
    count = len(order)
    month = found["day"].astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    found["period"] = (1970 + month // 12) * 100 + month % 12 + 1
    found["bucket"] = np.full(count, bucket)
    # what a visitor looked at is in one of three channels, the seller is one of fifty
    found["channel_code"] = 1 + found["occurred_at"] // 1_000_000 % 3
    found["seller_code"] = 1 + found["sku_code"] % 50
    found["detail_code"] = np.zeros(count, np.int64)
    found["known_day"], found["void_known_day"] = found["day"], found["void_day"]
    schema = arrow_schema(contract("activity.activity"))
    arrays = []
    for field in schema:
        if field.name == "flagged_day":
            arrays.append(pa.nulls(count, field.type))
            continue
        values = found[field.name]
        mask = values == 0 if field.name in ("void_day", "void_known_day") else None
        if pa.types.is_date32(field.type):
            arrays.append(pa.array(values.astype(np.int32), mask=mask).view(field.type))
        elif pa.types.is_timestamp(field.type):
            arrays.append(pa.array(values).view(field.type))
        else:
            arrays.append(pa.array(values).cast(field.type))
    return pa.table(arrays, schema=schema)


def kept_at(users: int) -> Path:
    """Where a workload is kept from one benchmark to the next, if no other folder is named."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "huaxiang" / f"bench-{users}"


def generate(folder: Path, users: int) -> dict[str, Any]:
    """Write the workload for ``users`` users below ``folder`` (once: a finished folder of this form is taken as it is)."""
    if (folder / "workload.json").exists():
        if (found := described(folder)).get("form") == FORM:
            return found
        shutil.rmtree(folder)
    known = products()
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(known.select(["sku_code", "brand", "category", "category_parent"]), folder / "products.parquet")
    brand = np.concatenate(([0], known["brand_code"].to_numpy()))
    category = np.concatenate(([0], known["category_code"].to_numpy()))
    writers: dict[str, pq.ParquetWriter] = {}
    counts: dict[str, int] = {}
    buckets = -(-users // USERS_PER_BUCKET)
    for bucket in range(buckets):
        here = min(USERS_PER_BUCKET, users - bucket * USERS_PER_BUCKET)
        rows = bucket_rows(bucket, here, users)
        counts["activity"] = counts.get("activity", 0) + len(rows)
        data = rows.drop_columns(["bucket", "period"])
        _write(data, folder / "by_bucket" / f"bucket={bucket}" / "part-0.parquet")
        period = rows["period"].to_numpy()
        for month in np.unique(period):
            place = folder / "by_month" / f"bucket={bucket}" / f"period={month}" / "part-0.parquet"
            _write(data.filter(pa.array(period == month)), place)
        for name, table in _for_peers(rows, brand, category).items():
            counts[name] = counts.get(name, 0) + len(table)
            if name not in writers:
                (folder / "peers").mkdir(exist_ok=True)
                writers[name] = pq.ParquetWriter(folder / "peers" / f"{name}.parquet", table.schema, compression="zstd")
            writers[name].write_table(table, row_group_size=500_000)
    for writer in writers.values():
        writer.close()
    found = {"form": FORM, "users": users, "buckets": buckets, "rows": counts}
    (folder / "workload.json").write_text(json.dumps(found))
    return found


def described(folder: Path) -> dict[str, Any]:
    """Users, buckets and rows of a generated workload."""
    return dict(json.loads((folder / "workload.json").read_text()))


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")


def _for_peers(rows: pa.Table, brand: np.ndarray, category: np.ndarray) -> dict[str, pa.Table]:
    """Narrow tables: only what the facts read, in the smallest types, product keys joined beforehand."""
    code = rows["behaviour_code"].to_numpy()
    sku = rows["sku_code"].to_numpy()
    slim = pa.table(
        {
            "uid": rows["uid"].cast(pa.int32()),
            "occurred_at": rows["occurred_at"].cast(pa.timestamp("us")),
            "day": rows["day"].cast(pa.int32()),
            "behaviour": pa.array(code.astype(np.int8)),
            "brand": pa.array(brand[sku].astype(np.int16)),
            "category": pa.array(category[sku].astype(np.int16)),
            "order_key": rows["order_key"],
            "quantity": rows["quantity"].cast(pa.int32()),
            "amount": rows["amount_minor"],
            "valid_from": rows["valid_from_day"].cast(pa.int32()),
            "void": rows["void_day"].cast(pa.int32()),
            "peer": rows["peer_uid"].cast(pa.int32()),
        }
    )
    browse = pa.array(np.isin(code, [B[b] for b in BROWSE_MIX]))
    pay = pa.array(np.isin(code, [B["pay"], B["refund_of_order"]]))
    shares = pa.array(np.isin(code, [B["share"], B["share_opened"]]))
    return {
        "browse": slim.filter(browse).select(["uid", "occurred_at", "day", "behaviour", "brand", "category"]),
        "pay": slim.filter(pay).select(
            ["uid", "day", "behaviour", "order_key", "quantity", "amount", "valid_from", "void"]
        ),
        "shares": slim.filter(shares).select(["uid", "day", "behaviour", "peer"]),
    }
