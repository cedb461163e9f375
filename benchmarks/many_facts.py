"""What ten times as many declared facts cost: one bucket of the workload, 20 facts and 200, in turns.

``python -m benchmarks.many_facts [USERS] [ROUNDS]`` prints seconds and the ratio: CPU time of the task itself in its
least disturbed round, because a busy neighbour slows the larger one more (its results leave the cache).

The 200 are 20 subjects (what is counted, of which rows) in 10 windows each, as a catalogue that has grown has them. The
20 are a tenth of them: every subject once, the windows in turn, so that both read the same rows and columns. A second
twenty, 5 subjects in 4 windows, reads fewer columns and selects less: a young catalogue, for comparison.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.workload import AS_OF, ZONE, bucket_rows, products
from jobs.activity.facts import facts_of_bucket

WINDOWS: tuple[int | None, ...] = (7, 14, 30, 45, 60, 90, 120, 180, 365, None)
SITE = ["exposure", "click", "view", "search", "favourite", "cart", "video"]
SUBJECTS: dict[str, dict[str, Any]] = {
    "views": {"from": ["view"], "measure": "rows", "agg": "count"},
    "orders": {"from": ["pay"], "measure": "orders", "agg": "count"},
    "net_amount": {"from": ["pay"], "measure": "net_amount", "agg": "sum"},
    "purchase_days": {"from": ["pay"], "measure": "days", "agg": "count"},
    "shares": {"from": ["share"], "measure": "rows", "agg": "count"},
    "active_days": {"from": SITE, "measure": "days", "agg": "count"},
    "visits": {"from": SITE, "measure": "visits", "agg": "count"},
    "carts": {"from": ["cart"], "measure": "rows", "agg": "count"},
    "favourites": {"from": ["favourite"], "measure": "rows", "agg": "count"},
    "searches": {"from": ["search"], "measure": "rows", "agg": "count"},
    "amount": {"from": ["pay"], "measure": "amount", "agg": "sum"},
    "discount": {"from": ["pay"], "measure": "discount", "agg": "sum"},
    "units": {"from": ["pay"], "measure": "quantity", "agg": "sum"},
    "dearest": {"from": ["pay"], "measure": "amount", "agg": "max"},
    "promotion_orders": {"from": ["pay"], "measure": "orders", "agg": "count", "where": {"on_promotion": True}},
    "promotion_amount": {"from": ["pay"], "measure": "amount", "agg": "sum", "where": {"on_promotion": True}},
    "app_views": {"from": ["view"], "measure": "rows", "agg": "count", "where": {"channel": ["app"]}},
    "brand_views": {"from": ["view"], "measure": "rows", "agg": "count", "where": {"brand": ["brand-0001"]}},
    "view_categories": {"from": ["view"], "measure": "category", "agg": "distinct"},
    "people_reached": {"from": ["share_opened"], "measure": "peer", "agg": "distinct"},
}
CHANNELS = ("app", "web", "mini")


def declared(subjects: tuple[str, ...], windows: tuple[int | None, ...]) -> list[dict[str, Any]]:
    return [
        {"id": f"{name}_{'ever' if w is None else f'{w}d'}", **SUBJECTS[name], **({} if w is None else {"window": w})}
        for name in subjects
        for w in windows
    ]


MANY = declared(tuple(SUBJECTS), WINDOWS)
TENTH = [f for i, name in enumerate(SUBJECTS) for f in declared((name,), (WINDOWS[i * 3 % len(WINDOWS)],))]
YOUNG = declared(tuple(SUBJECTS)[:5], (7, 30, 90, 365))


def write(folder: Path, users: int) -> dict[str, Any]:
    """One bucket by month with its products and codes; the item of the task without facts."""
    rows = bucket_rows(0, users, users)
    period = rows["period"].to_numpy()
    files = []
    for month in np.unique(period):
        path = folder / f"{month}.parquet"
        pq.write_table(rows.filter(pa.array(period == month)).drop_columns(["bucket", "period"]), path)
        files.append(str(path))
    pq.write_table(products().select(["sku_code", "brand", "category", "category_parent"]), folder / "products.parquet")
    codes = {"code_kind": ["channel"] * 3, "code": pa.array([1, 2, 3], pa.int32()), "code_value": list(CHANNELS)}
    pq.write_table(pa.table(codes), folder / "codes.parquet")
    return {
        "bucket": 0,
        "files": files,
        "as_of": AS_OF.isoformat(),
        "zone": ZONE,
        "users": users,
        "products": str(folder / "products.parquet"),
        "codes": [str(folder / "codes.parquet")],
        "out": str(folder / "facts.arrow"),
        "activity_rows": len(rows),
    }


def seconds(item: dict[str, Any], facts: list[dict[str, Any]]) -> float:
    """CPU seconds of the task with these facts."""
    started = time.process_time()
    facts_of_bucket({**item, "facts": facts})
    return time.process_time() - started


def compared(users: int, rounds: int) -> dict[str, Any]:
    """The least of the rounds, each contestant once a round; the first round warms caches and does not count."""
    contestants = {"20": TENTH, "20_young": YOUNG, "200": MANY}
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    with TemporaryDirectory() as folder:
        item = write(Path(folder), users)
        for number in range(rounds + 1):
            for name, facts in contestants.items():
                spent = seconds(item, facts)
                if number:
                    taken[name].append(spent)
    least = {name: min(t) for name, t in taken.items()}
    return {
        "users": users,
        "rows": item["activity_rows"],
        **{f"seconds_{name}": round(s, 3) for name, s in least.items()},
        "ratio": round(least["200"] / least["20"], 2),
        "ratio_young": round(least["200"] / least["20_young"], 2),
    }


if __name__ == "__main__":
    given = [int(a) for a in sys.argv[1:]]
    print(json.dumps(compared(*(given + [100_000, 5][len(given) :])), indent=1))
