"""Processes that are started before there is work for them."""

from __future__ import annotations

from lake.engine import open_engine


def test_a_module_that_is_missing_does_not_hurt_the_processes_that_were_warmed_up() -> None:
    with open_engine("embedded", cores=1, memory_gb=1) as engine:
        engine.warm(["jobs.activity.facts", "jobs.no_such_module"])
        assert engine.map("jobs.ingest.settling:settle", []) == []
        (said,) = engine.map("tests.lake.test_warm:told", [{"number": 3}])
    assert said == {"number": 4, "is_there": True}


def told(item: dict[str, int]) -> dict[str, int | bool]:
    import sys

    return {"number": item["number"] + 1, "is_there": "jobs.activity.facts" in sys.modules}
