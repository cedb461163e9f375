"""The workload's facts in Polars: lazy, conditional aggregates in one group_by a table, distinct counts from the last
day of each (user, value), which is the fastest form that was found.

``python -m benchmarks.in_polars FOLDER OUT [streaming|in-memory] [whole|by_bucket]``
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.workload import AS_OF_DAY as D
from benchmarks.workload import CORES, described
from features.kernel.rows import USERS_PER_BUCKET
from schemas.behaviours import BEHAVIOURS as B

os.environ.setdefault("POLARS_MAX_THREADS", str(CORES))
import polars as pl  # reads its thread count when imported

HALF_LIFE = 30.0
WINDOWS = (7, 30, 90, 365)
DAY = pl.col("day")


def _count(condition: pl.Expr) -> pl.Expr:
    return condition.sum().cast(pl.Int64)


def _recent(window: int) -> pl.Expr:
    return DAY.gt(D - window)


def _weight(window: int) -> pl.Expr:
    """Whole multiples of 2^-32; half-even, as ``rint`` does."""
    worth = (pl.lit(0.5).pow((D - DAY) / HALF_LIFE) * 4294967296.0).round(0, mode="half_to_even").cast(pl.Int64)
    return pl.when(_recent(window)).then(worth).otherwise(0).sum()


def plan(folder: Path, first: int, users: int, narrow: bool) -> pl.LazyFrame:
    """All facts of ``users`` users from uid ``first`` on; ``narrow`` where there are others."""

    def source(name: str) -> pl.LazyFrame:
        rows = pl.scan_parquet(folder / "peers" / f"{name}.parquet")
        return rows.filter((pl.col("uid") >= first) & (pl.col("uid") < first + users)) if narrow else rows

    browse, pay, shares = source("browse"), source("pay"), source("shares")
    did = {name: pl.col("behaviour") == code for name, code in B.items()}

    browsed = browse.group_by("uid").agg(
        *(_count(did["view"] & _recent(w)).alias(f"views_{w}d") for w in WINDOWS),
        *(_count(_recent(w)).alias(f"browse_{w}d") for w in WINDOWS),
        *(_count(did["cart"] & _recent(w)).alias(f"carts_{w}d") for w in (30, 90)),
        *(_count(did["favourite"] & _recent(w)).alias(f"favourites_{w}d") for w in (30, 90)),
        DAY.min().alias("first_browse_day_ever"),
        DAY.max().alias("last_browse_day_ever"),
    )
    active = (
        browse.group_by("uid", "day")
        .agg()
        .group_by("uid")
        .agg(*(_count(_recent(w)).alias(f"active_days_{w}d") for w in WINDOWS))
    )
    viewed = browse.filter(did["view"] & _recent(365))

    def kept(value: str, windows: tuple[int, ...], preferred: int) -> pl.LazyFrame:
        pairs = viewed.group_by("uid", value).agg(
            DAY.max(),
            pl.col("occurred_at").max(),
            _weight(preferred).alias("weight"),
            _recent(preferred).any().alias("there"),
        )
        best = (
            pairs.filter("there")
            .sort("weight", "occurred_at", value, descending=[True, True, False])
            .group_by("uid")
            .agg(pl.col(value).first())
        )
        name = {"category": "categories", "brand": "brands"}[value]
        counts = pairs.group_by("uid").agg(*(_count(_recent(w)).alias(f"view_{name}_{w}d") for w in windows))
        return counts.join(best.rename({value: f"preferred_{value}_{preferred}d"}), on="uid", how="left")

    valid = pay.filter((pl.col("void").is_null() | (pl.col("void") > D)) & (pl.col("valid_from") <= D))
    amount = pl.col("amount")
    signed = pl.when(did["refund_of_order"]).then(-amount).otherwise(amount)

    def inside(value: pl.Expr, condition: pl.Expr) -> pl.Expr:
        return pl.when(condition).then(value).otherwise(0).sum().cast(pl.Int64)

    bought = valid.group_by("uid").agg(
        *(inside(amount, did["pay"] & _recent(w)).alias(f"paid_amount_{w}d") for w in WINDOWS),
        *(inside(signed, _recent(w)).alias(f"net_amount_{w}d") for w in (90, 365)),
        inside(pl.col("quantity"), did["pay"] & _recent(365)).alias("units_365d"),
        pl.when(did["pay"]).then(DAY).min().alias("first_purchase_day_ever"),
        pl.when(did["pay"]).then(DAY).max().alias("last_purchase_day_ever"),
    )
    paid = valid.filter(did["pay"])
    ordered = (
        paid.group_by("uid", "order_key")
        .agg(DAY.max())
        .group_by("uid")
        .agg(*(_count(_recent(w)).alias(f"orders_{w}d") for w in WINDOWS))
    )
    purchases = (
        paid.group_by("uid", "day")
        .agg()
        .group_by("uid")
        .agg(_count(_recent(365)).alias("purchase_days_365d"), pl.len().cast(pl.Int64).alias("purchase_days_ever"))
    )
    sharing = shares.group_by("uid").agg(
        *(_count(did["share"] & _recent(w)).alias(f"shares_{w}d") for w in WINDOWS),
        _count(did["share_opened"] & _recent(90)).alias("shares_opened_90d"),
    )
    reached = (
        shares.filter(did["share_opened"] & (pl.col("peer") != pl.col("uid")))
        .group_by("uid", "peer")
        .agg(DAY.max())
        .group_by("uid")
        .agg(*(_count(_recent(w)).alias(f"people_reached_{w}d") for w in (90, 365)))
    )
    found = pl.LazyFrame({"uid": pl.int_range(first, first + users, dtype=pl.Int32, eager=True)})
    for part in (
        browsed, active, kept("category", (30, 90, 365), 90), kept("brand", (90, 365), 365),
        bought, ordered, purchases, sharing, reached,
    ):  # fmt: skip
        found = found.join(part, on="uid", how="left")
    return found


def main(folder: Path, out: Path, engine: str = "streaming", extent: str = "whole") -> None:
    users = described(folder)["users"]
    step = users if extent == "whole" else USERS_PER_BUCKET
    for first in range(0, users, step):
        here = min(step, users - first)
        found, path = plan(folder, first, here, narrow=here < users), out / f"from-{first}.parquet"
        if engine == "streaming":
            found.sink_parquet(path, compression="snappy", engine="streaming")
        else:
            found.collect(engine="in-memory").write_parquet(path, compression="snappy")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
