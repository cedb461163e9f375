"""Engines read the versions of a table that releases and steps name, whatever the log was shortened to."""

from __future__ import annotations

import json

from lake.engine import Engine
from lake.journal import JOURNALS, SCRATCH
from lake.lake import Lake
from tests.silver import at, write_silver


def test_a_version_older_than_the_last_checkpoint_is_read(engine: Engine, lake: Lake) -> None:
    for n in range(4):
        view = {
            "event_id": f"e{n}",
            "behaviour": "view",
            "member_id": "m1",
            "occurred_at": at(f"2026-0{n % 2 + 1}-03 10:00"),
        }
        write_silver(lake, "browse", [view], batch=f"b{n}")
        if n == 2:
            delta = lake.delta("silver.browse")
            assert delta is not None
            delta.create_checkpoint()
    newest = lake.version("silver.browse")
    assert newest is not None
    for back in range(4):
        rows = engine.table(lake, "silver.browse", newest - back).select("event_id", "event_month").collect()
        assert sorted((r["event_id"], r["event_month"]) for r in rows) == [
            (f"e{n}", 202601 + n % 2) for n in range(4 - back)
        ]


def test_reading_an_older_version_leaves_nothing_beside_the_files_of_the_table(embedded: Engine, lake: Lake) -> None:
    """What lies there for the reader is noted, so that it goes when a reader was killed, and its space with it."""
    for n in range(2):
        write_silver(lake, "browse", [{"event_id": f"e{n}", "behaviour": "view", "member_id": "m1"}], batch=f"b{n}")
    delta, newest = lake.delta("silver.browse"), lake.version("silver.browse")
    assert delta is not None and newest is not None
    delta.create_checkpoint()
    assert len(embedded.table(lake, "silver.browse", newest - 1).collect()) == 1
    lies = {str(p) for p in lake.path("silver.browse").rglob("*.parquet") if "_delta_log" not in p.parts}
    assert lies == {f.path for f in lake.files("silver.browse")}
    (linked,) = (lake.root / SCRATCH).iterdir()
    assert next(linked.rglob("*.parquet")).stat().st_nlink > 1
    noted = [json.loads(p.read_text(encoding="utf-8")) for p in (lake.root / JOURNALS / linked.name).iterdir()]
    assert noted == [{"scratch": f"{SCRATCH}/{linked.name}"}]
