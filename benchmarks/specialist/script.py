"""The whole script: from raw files to members of audiences, or to the tables of the raw files alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from benchmarks.specialist import audiences, events, facts, persons, segments, silver
from features.facts import Fact


@dataclass(frozen=True)
class Given:
    """What the script is told: the day, the facts to make, the orders held for brushing, and the kept cuts of lifecycle.

    ``folder`` holds facts.json, flags.parquet and cuts.json.
    """

    as_of: date
    folder: Path


def made(inbox: Path, database: Path, given: Given | None = None) -> dict[str, float]:
    """Seconds of each part. Without ``given`` only silver is made. The database must not be there yet."""
    parts: dict[str, Callable[[duckdb.DuckDBPyConnection], None]] = {"silver": lambda con: silver.build(con, inbox)}
    if given is not None:
        declared = [Fact.model_validate(f) for f in json.loads((given.folder / "facts.json").read_text("utf-8"))]
        cuts: segments.Cuts = json.loads((given.folder / "cuts.json").read_text("utf-8"))
        parts |= {
            "persons": persons.build,
            "events": lambda con: events.build(con, given.as_of, given.folder / "flags.parquet"),
            "facts": lambda con: facts.build(con, declared),
            "segments": lambda con: segments.build(con, cuts),
            "audiences": audiences.build,
        }
    seconds = {}
    with duckdb.connect(str(database)) as con:
        con.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
        for name, build in parts.items():
            started = time.perf_counter()
            build(con)
            seconds[name] = round(time.perf_counter() - started, 3)
        con.execute("CHECKPOINT")
    return seconds
