"""The workload's facts by Huaxiang: the map task over buckets, as ``huaxiang run`` starts it.

``python -m benchmarks.ours FOLDER OUT [embedded|spark] [by_bucket|by_month] [BUCKETS]``
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.workload import AS_OF, CORES, FACTS, ZONE, described
from features.kernel.rows import USERS_PER_BUCKET
from lake.engine import Kind, open_engine


def items(folder: Path, out: Path, layout: str, buckets: int | None) -> list[dict[str, Any]]:
    """One item a bucket; files are listed, as the lake's log would list them.

    More ``buckets`` than there are go through the same ones again: what memory does over many tasks.
    """
    workload = described(folder)
    found = []
    for number in range(buckets or workload["buckets"]):
        bucket = number % workload["buckets"]
        files = sorted(str(p) for p in (folder / layout / f"bucket={bucket}").rglob("*.parquet"))
        found.append(
            {
                "bucket": bucket,
                "files": files,
                "facts": FACTS,
                "as_of": AS_OF.isoformat(),
                "zone": ZONE,
                "users": min(USERS_PER_BUCKET, workload["users"] - bucket * USERS_PER_BUCKET),
                "products": str(folder / "products.parquet"),
                "out": str(out / f"task={number}" / "facts.parquet"),
            }
        )
    return found


def main(folder: Path, out: Path, engine: Kind = "embedded", layout: str = "by_bucket", buckets: int = 0) -> None:
    with open_engine(engine, cores=CORES, memory_gb=2) as opened:
        done = opened.map("jobs.activity.facts:facts_of_bucket", items(folder, out, layout, buckets or None))
    (out / "done.json").write_text(json.dumps(done))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5], *map(int, sys.argv[5:]))  # type: ignore[arg-type]
