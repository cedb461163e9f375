"""The whole pipeline on the same input gives equal tables on both engines, value for value."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lake.engine import Engine
from project.folder import Project
from tests.pipeline import shop


@pytest.mark.spark
@pytest.mark.slow
def test_embedded_and_spark_give_equal_tables_on_the_simulated_shop(
    tmp_path: Path, embedded: Engine, spark: Engine
) -> None:
    """A day that adds to the lake that the day before left: every step reads it, and rewrites the slices it touches.

    First loads are compared on real data (test_real_data_on_both_engines.py), and step by step where the steps are.
    """
    before, last = shop.last_days(2)
    first = shop.new_project(tmp_path / "embedded")
    shop.one_day(first, embedded, before)
    shutil.copytree(first.folder, tmp_path / "spark")
    made = {}
    for engine in (embedded, spark):
        project = Project.load(tmp_path / engine.name)
        shop.one_day(project, engine, last)
        made[engine.name] = shop.tables(project)
    shop.assert_same(made["embedded"], made["spark"], ("embedded", "spark"))
