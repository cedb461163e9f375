"""Memory: the peak is the whole tree's, and a task keeps within its share of the budget and spills what is more."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lake import budget
from lake.budget import Share, for_frames, in_memory, of_a_worker, of_the_main_process
from lake.engine import Engine, open_engine, run_task
from lake.tree_memory import TreeMemory, watched
from schemas.errors import HuaxiangError
from tests.lake.measured_tasks import sort

TASKS = "tests.lake.measured_tasks"
MIB = 1 << 20


def test_the_peak_of_the_tree_holds_what_a_worker_held(embedded: Engine, tmp_path: Path) -> None:
    embedded.map(f"{TASKS}:hold", [{"mib": 1, "seen": str(tmp_path)}])
    seen = tmp_path / "seen"
    with watched() as before:
        pass
    with watched() as memory:
        threading.Thread(target=_told_when_held, args=(memory, before.peak_mb + 250, seen), daemon=True).start()
        assert embedded.map(f"{TASKS}:hold", [{"mib": 300, "seen": str(seen)}]) == [{"sum": 300}]
    assert memory.peak_mb >= before.peak_mb + 250
    assert memory.main_peak_mb < memory.peak_mb - 250
    assert memory.spilled_mb is None


def _told_when_held(memory: TreeMemory, mib: float, seen: Path) -> None:
    pause = threading.Event()
    for _ in range(400):
        if memory.peak_mb >= mib:
            break
        pause.wait(0.05)
    seen.touch()


def test_the_budget_is_shared_out_once(tmp_path: Path) -> None:
    for cores in (1, 2, 7):
        worker = of_a_worker(16 << 30, cores, tmp_path)
        assert for_frames(16 << 30) + cores * worker.memory_bytes <= 16 << 30
    assert of_the_main_process(16 << 30, tmp_path).memory_bytes == for_frames(16 << 30)
    assert of_a_worker(1 << 30, 64, tmp_path).memory_bytes == budget.LEAST_BYTES


def test_workers_are_given_their_share_and_a_folder_of_the_engine() -> None:
    with open_engine("embedded", cores=2, memory_gb=4) as engine:
        [found] = engine.map(f"{TASKS}:sort", [{"rows": 10}])
        assert found["limit"] == "1.0 GiB"
        assert engine.spills is not None and Path(found["folder"]).parent == engine.spills
        assert budget._taken
        folder = engine.spills
    assert not folder.exists() and not any(s.spills == str(folder) for s in budget._taken)


def test_a_task_that_needs_more_than_its_share_spills_and_gives_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "_taken", [])
    free = sort({"rows": 1_500_000})
    monkeypatch.setattr(budget, "_taken", [Share(64 * MIB, str(tmp_path))])
    kept = sort({"rows": 1_500_000})
    assert kept["limit"] == "64.0 MiB" and Path(kept["folder"]).parent == tmp_path
    assert free["spilled"] == 0 and kept["spilled"] > 0
    assert kept["rows"] == free["rows"]
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_what_cannot_be_spilled_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "_taken", [Share(4 * MIB, str(tmp_path / "a file"))])
    (tmp_path / "a file").touch()
    found = run_task(f"{TASKS}:sort", '{"rows": 1500000}')
    assert HuaxiangError.__name__ in found and "memory_gb" in found


def test_spills_are_seen(tmp_path: Path) -> None:
    with watched(tmp_path) as memory:
        (tmp_path / "duckdb-1").mkdir()
        (tmp_path / "duckdb-1" / "spill.tmp").write_bytes(b"x" * MIB)
    assert memory.spilled_mb is not None and memory.spilled_mb >= 1


def test_a_limit_of_its_own_holds_where_it_is_the_smaller_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(budget, "_taken", [Share(1 << 30, str(tmp_path))])
    for most, said in ((512 * MIB, "512.0 MiB"), (4 << 30, "1.0 GiB")):
        with in_memory(most_bytes=most) as con:
            assert con.execute("select current_setting('memory_limit')").fetchall() == [(said,)]
