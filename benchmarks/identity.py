"""Seconds of the identity step on a made-up shop: ``python -m benchmarks.identity --persons 200000 [--engine spark]``.

A first run over all rows, a run with nothing new, and a day's increment. Processor seconds and peak memory are those of
this process: all there is with the embedded engine.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.identity.step import update_identity
from lake import journal
from lake.engine import open_engine
from lake.lake import Lake
from lake.publish import publish
from schemas.arrow import arrow_schema
from schemas.contracts import contract

START = np.datetime64("2026-01-01T00:00:00", "us")
DAYS = 90


def browse(persons: int, rows: int, seed: int, first_day: int, days: int) -> pa.Table:
    """Rows of persons with one or two devices and cookies, 60 % of them members; 1 % of the devices are shared."""
    rng = np.random.default_rng(seed)
    who = rng.integers(0, persons, rows)
    device = who * 2 + (rng.random(rows) < 0.2)
    device = np.where(rng.random(rows) < 0.01, rng.integers(0, max(persons // 100, 1), rows), device)
    seconds = rng.integers(first_day * 86400, (first_day + days) * 86400, rows)
    known = (who % 10 < 6) & (rng.random(rows) < 0.5)
    at = pa.array(START + seconds.astype("timedelta64[s]")).cast(pa.timestamp("us", "UTC"))
    cookie = who * 2 + (rng.random(rows) < 0.3)

    def ids(prefix: str, numbers: np.ndarray, present: np.ndarray) -> pa.Array:
        text = pc.binary_join_element_wise(pa.scalar(prefix), pa.array(numbers).cast(pa.string()), "")
        return pc.if_else(pa.array(present), text, pa.scalar(None, pa.string()))

    columns = {
        "occurred_at": at,
        "_ingested_at": at,
        "member_id": ids("m", who, known),
        "openid": ids("o", who, rng.random(rows) < 0.2),
        "device_id": ids("d", device, rng.random(rows) < 0.9),
        "cookie_id": ids("c", cookie, np.ones(rows, bool)),
    }
    schema = pa.schema([f for f in arrow_schema(contract("silver.browse")) if f.name != "event_month"])
    return pa.table([columns.get(f.name, pa.nulls(rows, f.type)) for f in schema], schema=schema)


def deliver(lake: Lake, table: pa.Table, batch: str) -> None:
    lake.ensure("silver.browse")
    folder = lake.stage("silver.browse", batch)
    (folder / "event_month=202601").mkdir()
    pq.write_table(table, folder / "event_month=202601" / "rows.parquet")
    publish(lake, "silver.browse", folder, replace=None, read_version=None, run_id=batch, key=batch)
    journal.finish(lake, batch)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=200_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--engine", choices=["embedded", "spark"], default="embedded")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_engine(args.engine) as engine:
        lake = Lake(Path(folder) / "lake", "Asia/Shanghai")
        deliver(lake, browse(args.persons, args.rows, 1, 0, DAYS), "b0")
        for name, rows in (("first run", None), ("nothing new", None), ("one more day", args.rows // DAYS)):
            if rows:
                deliver(lake, browse(int(args.persons * 1.01), rows, 2, DAYS, 1), "b1")
            began, busy = time.perf_counter(), time.process_time()
            report = update_identity(lake, engine, date(2026, 3, 31), name.replace(" ", "-"), "salt")
            seconds, busy = time.perf_counter() - began, time.process_time() - busy
            journal.finish(lake, name.replace(" ", "-"))
            ids = sum(f.rows for f in lake.files("identity.identifiers"))
            links = sum(f.rows for f in lake.files("identity.links"))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"{name:13} {seconds:6.1f} s ({busy:.1f} s of processor)  ids {ids:,}  links {links:,}  users {report.users:,} "
                f"(+{report.new_users:,})  moved {report.moves:,}  peak {peak:,.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
