"""The step ``fission`` on the two extreme shapes: ``python -m benchmarks.fission [--shares 10000000] [--engine spark]``.

``chain``: trees of a thousand levels side by side, everybody brings one other. ``star``: one person whose shares a
tenth as many people open, ten times each. Each shape is written as activity files into a lake of its own; then the step
runs in a process of its own, of which wall time, CPU time and peak memory (all its workers included) are shown. What is shared
are ``PRODUCTS`` products, one a chain, so that trees are made of each card too.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measured import measured
from features.fission.settings import FissionSettings
from features.kernel.arrays import to_arrow
from features.kernel.rows import USERS_PER_BUCKET
from jobs.fission.step import update_fission
from lake import journal
from lake.engine import open_engine
from lake.lake import Lake, partition_path
from lake.publish import publish
from schemas.behaviours import BEHAVIOURS as B

AS_OF = dt.date(2026, 3, 31)
FIRST_DAY = (dt.date(2026, 1, 1) - dt.date(1970, 1, 1)).days
DAYS = 90
MINUTE, DAY = 60_000_000, 86_400_000_000
OPENS_OF_A_STAR = 10
CARDS_OF_THE_HUB = 10_000
PRODUCTS = 1_000
SHAPES = ("chain", "star")
Rows = tuple[np.ndarray, int, np.ndarray, np.ndarray, np.ndarray]
"""Of one behaviour: uid, its number, moment, peer, product."""


def rows_of_bucket(shape: str, bucket: int, shares: int, levels: int) -> list[Rows]:
    """What the users of a bucket did. In a chain user u was brought by u - shares/levels, in a star by user 0."""
    users = shares + shares // levels if shape == "chain" else shares // OPENS_OF_A_STAR + 1
    uid = np.arange(bucket * USERS_PER_BUCKET, min((bucket + 1) * USERS_PER_BUCKET, users))
    start = np.int64(FIRST_DAY * DAY)
    if shape == "chain":
        width = shares // levels

        def shared(of: np.ndarray) -> np.ndarray:
            return start + (of // width) * (DAYS * DAY // (levels + 2)) + of % width

        brought, sharing = uid[uid >= width], uid[uid + width < users]

        def product(of: np.ndarray) -> np.ndarray:
            return 1 + of % width % PRODUCTS

        opened = shared(brought - width) + MINUTE
        return [
            (sharing, B["share"], shared(sharing), np.full(len(sharing), -1), product(sharing)),
            (brought, B["share_open"], opened, brought - width, product(brought)),
            (brought, B["register"], opened + MINUTE, brought - width, product(brought)),
            (sharing, B["share_opened"], shared(sharing) + MINUTE, sharing + width, product(sharing)),
        ]
    card = start + np.arange(CARDS_OF_THE_HUB, dtype=np.int64) * (DAYS * DAY // (CARDS_OF_THE_HUB + 1))
    others = uid[uid > 0]
    person = np.repeat(others, OPENS_OF_A_STAR)
    which = (person * 7 + np.tile(np.arange(OPENS_OF_A_STAR), len(others)) * 13) % CARDS_OF_THE_HUB
    at = card[which] + MINUTE
    first = at.reshape(-1, OPENS_OF_A_STAR).min(axis=1) if len(others) else at
    found = [
        (person, B["share_open"], at, np.zeros(len(person), np.int64), 1 + which % PRODUCTS),
        (others, B["register"], first + MINUTE, np.zeros(len(others), np.int64), np.zeros(len(others), np.int64)),
    ]
    if bucket == 0:
        person = np.repeat(np.arange(1, users), OPENS_OF_A_STAR)
        which = (person * 7 + np.tile(np.arange(OPENS_OF_A_STAR), users - 1) * 13) % CARDS_OF_THE_HUB
        products = 1 + np.arange(len(card)) % PRODUCTS
        found.append((np.zeros(len(card), np.int64), B["share"], card, np.full(len(card), -1), products))
        mirrored = (
            np.zeros(len(person), np.int64),
            B["share_opened"],
            card[which] + MINUTE,
            person,
            1 + which % PRODUCTS,
        )
        found.append(mirrored)
    return found


def activity(parts: list[Rows]) -> pa.Table:
    """The rows as activity columns, sorted by user and time."""
    uid, at, peer, sku = (np.concatenate([p[i] for p in parts]).astype(np.int64) for i in (0, 2, 3, 4))
    code = np.concatenate([np.full(len(p[0]), p[1], np.int32) for p in parts])
    order = np.lexsort((at, uid))
    uid, at, peer, code, sku = uid[order], at[order], peer[order], code[order], sku[order]
    day = (at // DAY).astype(np.int32)
    n = len(uid)
    zeros = to_arrow(np.zeros(n, np.int64), None, pa.int64())
    days = to_arrow(day, None, pa.date32())
    return pa.table(
        {
            "uid": uid,
            "occurred_at": to_arrow(at, None, pa.timestamp("us", "UTC")),
            "day": days,
            "behaviour_code": code,
            "sku_code": to_arrow(sku.astype(np.int32), None, pa.int32()),
            "order_key": zeros,
            "amount_minor": zeros,
            "peer_uid": peer,
            "valid_from_day": days,
            "void_day": pa.nulls(n, pa.date32()),
            "void_known_day": pa.nulls(n, pa.date32()),
            "flagged_day": pa.nulls(n, pa.date32()),
            "known_day": days,
        }
    )


def make(folder: Path, shape: str, shares: int, levels: int) -> int:
    """Write the shape into a lake; gives its activity rows."""
    lake = Lake(folder, "Asia/Shanghai")
    table = "activity.activity"
    lake.ensure(table)
    for other in ("identity.users", "identity.identifiers", "silver.members", "activity.codes", "silver.products"):
        lake.ensure(other)
    staged = lake.stage(table, "made")
    users = shares + shares // levels if shape == "chain" else shares // OPENS_OF_A_STAR + 1
    rows = 0
    for bucket in range(-(-users // USERS_PER_BUCKET)):
        place = staged / partition_path({"bucket": bucket, "period": 202601})
        place.mkdir(parents=True)
        made = activity(rows_of_bucket(shape, bucket, shares, levels))
        pq.write_table(made, place / "rows.parquet", compression="zstd")
        rows += len(made)
    publish(lake, table, staged, replace=None, read_version=None, run_id="made", key="made")
    journal.finish(lake, "made")
    return rows


def step(folder: Path, engine: str) -> None:
    """Run the step and say what came of it."""
    lake = Lake(folder, "Asia/Shanghai")
    with open_engine(engine) as e:  # type: ignore[arg-type]
        update_fission(lake, e, AS_OF, FissionSettings(), run_id="step")
    journal.finish(lake, "step")


def outcome(folder: Path) -> tuple[int, int, int, int]:
    """Edges, the deepest level, the largest hub, trees of cards."""
    lake = Lake(folder, "Asia/Shanghai")
    edges = sum(f.rows for f in lake.files("fission.share_edges"))
    trees = lake.dataset("fission.share_trees").to_table(columns=["tree_depth", "largest_hub_users"])
    depth, hub = (max(trees[c].to_pylist()) for c in ("tree_depth", "largest_hub_users"))
    return edges, depth, hub, sum(f.rows for f in lake.files("fission.card_trees"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=int, default=10_000_000)
    parser.add_argument("--levels", type=int, default=1_000)
    parser.add_argument("--shape", choices=SHAPES, action="append")
    parser.add_argument("--engine", choices=["embedded", "spark"], default="embedded")
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step(args.step, args.engine)
        return
    for shape in args.shape or SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            rows = make(Path(folder), shape, args.shares, args.levels)
            command = [sys.executable, "-m", "benchmarks.fission", "--engine", args.engine, "--step", folder]
            found = measured(command, {}, timeout=3_600)
            edges, depth, hub, cards = outcome(Path(folder))
            print(
                f"{shape:6} {args.shares:,} shares, {rows:,} activity rows: {found.wall:.1f} s "
                f"({found.cpu:.1f} s of processor), peak {found.peak_mb:,.0f} MiB; "
                f"{edges:,} edges, {depth:,} levels, largest hub {hub:,}, {cards:,} trees of cards",
                flush=True,
            )


if __name__ == "__main__":
    main()
