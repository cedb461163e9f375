"""``python -m benchmarks.specialist INBOX DATABASE``: everything, or with ``--silver`` the tables of the raw files alone."""

from __future__ import annotations

import argparse
import json
import os
import time
from datetime import date
from pathlib import Path

import duckdb

from benchmarks.specialist import audiences, events, facts, persons, segments, silver
from features.facts import Fact


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("inbox", type=Path)
    asked.add_argument("database", type=Path)
    asked.add_argument("--silver", action="store_true")
    asked.add_argument("--as-of", type=date.fromisoformat)
    asked.add_argument("--given", type=Path, help="folder with flags.parquet, facts.json and cuts.json")
    options = asked.parse_args()
    seconds: dict[str, float] = {}
    with duckdb.connect(str(options.database)) as con:
        con.execute(f"SET threads = {len(os.sched_getaffinity(0))}; SET preserve_insertion_order = false")

        def timed(name: str, started: float) -> float:
            now = time.perf_counter()
            seconds[name] = round(now - started, 3)
            return now

        at = time.perf_counter()
        silver.build(con, options.inbox)
        at = timed("silver", at)
        if not options.silver:
            given: Path = options.given
            declared = [Fact.model_validate(f) for f in json.loads((given / "facts.json").read_text("utf-8"))]
            persons.build(con)
            at = timed("persons", at)
            events.build(con, options.as_of, given / "flags.parquet")
            at = timed("events", at)
            facts.build(con, declared)
            at = timed("facts", at)
            segments.build(con, json.loads((given / "cuts.json").read_text("utf-8")))
            at = timed("segments", at)
            audiences.build(con)
            at = timed("audiences", at)
        con.execute("CHECKPOINT")
        timed("checkpoint", at)
    options.database.with_suffix(".json").write_text(json.dumps(seconds), "utf-8")


if __name__ == "__main__":
    main()
