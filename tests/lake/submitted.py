"""A job as spark-submit runs it: reads, writes, maps and audits. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lake.audit import Auditor
from lake.engine import open_engine
from lake.lake import Lake
from lake.spark_session import NEEDED
from tests.audit.test_audit import line, staged

THEIRS = ("spark.sql.shuffle.partitions", "spark.sql.adaptive.enabled", "spark.databricks.delta.snapshotPartitions")


def main(folder: str) -> None:
    lake = Lake(Path(folder) / "lake", "Asia/Shanghai")
    with open_engine("spark", where="submit", cores=2, memory_gb=1) as engine:
        engine.spark.range(10).write.format("delta").save(f"{folder}/delta")
        auditor = Auditor(engine, lake)
        report = auditor.judge(staged(lake, "silver.order_lines", line(1)))
        auditor.confirm()
        found = {
            "frames": type(engine.spark).__module__,
            "rows": engine.spark.read.format("delta").load(f"{folder}/delta").count(),
            "mapped": engine.map("tests.lake.slow_items:nap", [{"n": n, "seconds": 2} for n in range(6)]),
            "judged": report.expectations["silver.order_lines"],
            "settings": {key: engine.spark.conf.get(key) for key in (*THEIRS, *NEEDED)},
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
