"""Engines read the versions of a table that releases and steps name, whatever the log was shortened to."""

from __future__ import annotations

from lake.engine import Engine
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
