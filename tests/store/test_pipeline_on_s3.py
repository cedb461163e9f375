"""The whole pipeline on an object store gives the tables that it gives on a folder, value for value."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lake import journal
from lake.object_store import ObjectStore
from project.folder import SETTINGS_FILE, Project
from tests.pipeline import shop
from tests.pipeline.conftest import SALT
from tests.stores import Bucket


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HUAXIANG_ID_SALT", SALT)


def on_store(project: Project, **settings: str) -> Project:
    """The same project with its lake, or more, at other addresses."""
    path = project.folder / SETTINGS_FILE
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(":")[0] not in settings]
    path.write_text("\n".join([*kept, *(f"{k}: {v}" for k, v in settings.items())]) + "\n", encoding="utf-8")
    return Project.load(project.folder)


@pytest.mark.slow
def test_two_days_on_a_store_give_the_tables_of_a_folder(bucket: Bucket, tmp_path: Path) -> None:
    folder = shop.new_project(tmp_path / "folder")
    store = on_store(shop.new_project(tmp_path / "store"), lake=bucket.uri)
    made = {}
    for name, project in (("folder", folder), ("store", store)):
        with project.open_engine() as engine:
            for day in shop.last_days(2):
                shop.one_day(project, engine, day)
        made[name] = shop.tables(project)
    shop.assert_same(made["folder"], made["store"], ("folder", "store"))

    assert isinstance(store.lake.store, ObjectStore)
    left = store.lake.store.names(journal.JOURNALS) + store.lake.store.names(f"{journal.SCRATCH}/")
    assert left + store.lake.store.names("_locks/") == []

    # Another machine, without a single copy.
    shutil.rmtree(tmp_path / "cache")
    again = Project.load(store.folder)
    shop.assert_same(made["folder"], shop.tables(again), ("folder", "another machine"))
