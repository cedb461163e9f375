"""A job as spark-submit runs it, on classic frames: reads, writes, maps and audits. Prints one line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lake.audit import Auditor
from lake.engine import open_engine
from lake.lake import Lake
from tests.audit.test_audit import line, staged


def triple(item: dict[str, int]) -> dict[str, int]:
    return {"n": 3 * item["n"]}


def main(folder: str) -> None:
    lake = Lake(Path(folder) / "lake", "Asia/Shanghai")
    with open_engine("spark", where="submit", cores=2, memory_gb=1) as engine:
        engine.spark.range(10).write.format("delta").save(f"{folder}/delta")
        auditor = Auditor(engine, lake)
        report = auditor.judge(auditor.frames(staged(lake, "silver.order_lines", line(1))))
        found = {
            "frames": type(engine.spark).__module__,
            "rows": engine.spark.read.format("delta").load(f"{folder}/delta").count(),
            "mapped": engine.map("tests.lake.submitted:triple", [{"n": 1}, {"n": 2}]),
            "judged": report.expectations["silver.order_lines"],
            "zone": engine.spark.conf.get("spark.sql.session.timeZone"),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
