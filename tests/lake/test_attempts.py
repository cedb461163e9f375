"""Tasks whose attempts write under names of their own: which files count, and what goes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lake.attempts import ATTEMPTS, WRITTEN, clear_left, inputs_of, lake_place_of, run_attempt, taken_up
from lake.folder_store import FolderStore
from lake.store import is_of_attempt


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "lake")


def doubled(item: dict[str, Any]) -> dict[str, Any]:
    """Writes the numbers of ``read`` twofold to ``out``, whose folder is there."""
    numbers = pq.read_table(item["read"])["n"].to_pylist() if item["read"] else [1]
    pq.write_table(pa.table({"n": [2 * n for n in numbers]}), item["out"])
    return {"made": item["out"], "rows": len(numbers)}


def attempt(store: FolderStore, item: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = run_attempt(doubled, item, inputs_of(store, item), lake_place_of(store))
    return made


def test_of_two_attempts_the_one_that_is_taken_counts_and_the_other_is_swept(store: FolderStore) -> None:
    folder = store.path("silver/rows/d-1")
    item = {"read": None, "out": str(folder / "part-0.parquet")}
    first, second = attempt(store, item), attempt(store, item)
    result = taken_up(store, second)
    assert store.below(folder) == [result["made"]] == list(second[WRITTEN])
    lost = Path(first["result"]["made"])
    assert lost.is_file() and is_of_attempt(lost.name)
    store.sweep(folder)
    assert [str(p) for p in folder.rglob("*.parquet")] == [result["made"]]


def test_a_task_reads_what_another_wrote_under_the_name_that_counts(store: FolderStore) -> None:
    one = taken_up(store, attempt(store, {"read": None, "out": str(store.path("ops/scratch/r/a.parquet"))}))
    two = taken_up(store, attempt(store, {"read": one["made"], "out": str(store.path("ops/scratch/r/b.parquet"))}))
    assert pq.read_table(two["made"])["n"].to_pylist() == [4]
    assert list((store.folder / ATTEMPTS).iterdir()) == []


def test_folders_of_attempts_that_were_killed_are_removed_after_a_day(store: FolderStore) -> None:
    dead, alive = store.folder / ATTEMPTS / "dead", store.folder / ATTEMPTS / "alive"
    for folder in (dead, alive):
        folder.mkdir(parents=True)
        (folder / "part.parquet").touch()
    day_ago = time.time() - 90_000
    os.utime(dead, (day_ago, day_ago))
    clear_left(store)
    assert not dead.exists() and (alive / "part.parquet").is_file()
