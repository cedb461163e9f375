"""Spans: nested, in parts that add up, back from workers of either engine, and written as a trace that viewers open."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lake import spans
from lake.engine import Engine
from lake.lake import Lake
from lake.locks import lock
from lake.measured import measuring
from lake.spans import PARTS, each, listened, span
from lake.trace import traced
from schemas.errors import InputError

TASKS = "tests.lake.measured_tasks"


def test_spans_inside_each_other_count_once_and_parts_add_up_to_no_more_than_the_whole() -> None:
    with measuring("profile", None) as m:
        with span("audit", "profile.profile"), span("frames", "to_table"):
            time.sleep(0.03)
        with span("commit", "profile.profile"):
            time.sleep(0.01)
        time.sleep(0.01)
    d = m.division
    assert d is not None
    assert d.parts["frames"] == 0 and d.parts["audit"] >= 0.03 and d.parts["commit"] >= 0.01
    assert set(d.parts) == set(PARTS)
    assert sum(d.parts.values()) <= d.seconds and d.rest >= 0.01
    assert sum(d.parts.values()) + d.rest == pytest.approx(d.seconds)


def test_an_error_leaves_no_span_open() -> None:
    with listened() as heard:
        with pytest.raises(ValueError, match="no"), span("audit", "a"), span("frames", "b"):
            raise ValueError("no")
        with span("commit", "c"):
            pass
    assert [(s.kind, s.is_outer) for s in heard.ended] == [("frames", False), ("audit", True), ("commit", True)]


def test_nobody_hears_what_ends_after_the_block_or_before_it() -> None:
    with span("audit", "before"), listened() as heard:
        pass
    with span("audit", "after"):
        pass
    assert heard.ended == [] and spans._listening == []


def test_what_another_thread_does_is_heard_and_divides_nothing() -> None:
    def beside() -> None:
        with span("commit", "beside"):
            time.sleep(0.02)

    with listened() as heard:
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
    assert [s.name for s in heard.ended] == ["beside"]
    assert heard.division(1.0).parts["commit"] == 0


def test_getting_items_is_a_span_and_what_is_done_with_them_is_not() -> None:
    with listened() as heard:
        for _ in each("read", "rows", [1, 2]):
            time.sleep(0.02)
    assert {s.name for s in heard.ended} == {"rows"} and sum(s.seconds for s in heard.ended) < 0.02


def test_waiting_for_a_lock_is_told(lake: Lake) -> None:
    held, let_go = threading.Event(), threading.Event()

    def holder() -> None:
        with lock(lake, "silver.orders"):
            held.set()
            let_go.wait(10)

    thread = threading.Thread(target=holder)
    thread.start()
    held.wait(10)
    threading.Timer(0.3, let_go.set).start()
    with listened() as heard, lock(lake, "silver.orders", wait_seconds=10):
        pass
    thread.join()
    assert {(s.kind, s.name) for s in heard.ended} == {("waiting", "silver.orders")}


def test_workers_bring_their_spans_back_on_either_engine(engine: Engine) -> None:
    items = [{"n": n, "seconds": 0.02} for n in range(3)]
    with measuring("a step", engine.spills) as m, listened() as heard:
        made = engine.map(f"{TASKS}:read_and_write", items)
    assert [r["n"] for r in made] == [0, 1, 2] and set(made[0]) == {"n", "pid"}
    tasks = [s for s in heard.ended if s.kind == "task"]
    assert (
        len(tasks) == 3
        and {s.pid for s in tasks} == {r["pid"] for r in made}
        and os.getpid() not in {s.pid for s in tasks}
    )
    assert all(s.peak_memory_mb is None or s.peak_memory_mb > 1 for s in tasks)
    d = m.division
    assert d is not None and d.tasks == 3
    assert d.task_parts["read"] >= 0.06 and d.task_parts["write"] >= 0.06
    assert sum(d.task_parts.values()) <= d.task_seconds
    assert 0 < d.parts["tasks"] <= d.seconds


def test_a_task_that_fails_is_raised_as_ever_and_leaves_nothing_open(embedded: Engine) -> None:
    with listened() as heard, pytest.raises(InputError, match=r"^item 7 is no good$"):
        embedded.map(f"{TASKS}:fail", [{"n": 7}])
    assert [s.kind for s in heard.ended if s.is_outer and s.kind != "task"] == ["tasks"]
    assert embedded.map(f"{TASKS}:read_and_write", [{"n": 1, "seconds": 0}])[0]["n"] == 1


def test_queries_of_the_engine_are_frames(engine: Engine, tmp_path: Path) -> None:
    frame = engine.spark.range(1000)
    with measuring("a step", engine.spills) as m:
        engine.spread(frame, tmp_path / "rows")
        assert frame.count() == 1000
    assert m.division is not None and 0 < m.division.parts["frames"] <= m.division.seconds


def nested(events: list[dict[str, Any]]) -> bool:
    """Whether spans of a thread lie inside each other or apart."""
    ends: list[int] = []
    for e in sorted(events, key=lambda e: (e["ts"], -e["dur"])):
        while ends and ends[-1] <= e["ts"]:
            ends.pop()
        if ends and e["ts"] + e["dur"] > ends[-1]:
            return False
        ends.append(e["ts"] + e["dur"])
    return True


def test_a_trace_is_json_of_well_formed_events(embedded: Engine, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    with pytest.raises(InputError), traced(file, embedded.spills), measuring("a step", embedded.spills):
        with span("audit", "a table"), span("frames", "to_table"):
            pass
        embedded.map(f"{TASKS}:read_and_write", [{"n": 1, "seconds": 0.01}])
        embedded.map(f"{TASKS}:fail", [{"n": 1}])
    found = json.loads(file.read_text(encoding="utf-8"))["traceEvents"]
    complete = [e for e in found if e["ph"] == "X"]
    assert {e["cat"] for e in complete} == {"step", "audit", "frames", "tasks", "task", "read", "write"}
    for e in complete:
        assert set(e) - {"args"} == {"name", "cat", "ph", "ts", "dur", "pid", "tid"} and e["dur"] >= 0
    rows = {(e["pid"], e["tid"]) for e in complete}
    assert len({pid for pid, _ in rows}) >= 2
    assert all(nested([e for e in complete if (e["pid"], e["tid"]) == row]) for row in rows)
    counters = [e for e in found if e["ph"] == "C"]
    assert {e["name"] for e in counters} == {"memory (MiB)", "spilled (MiB)"}
    assert all(e["args"]["main"] > 10 for e in counters if e["name"] == "memory (MiB)")
    assert {e["args"]["name"] for e in found if e["ph"] == "M"} >= {"huaxiang", "worker 1"}
