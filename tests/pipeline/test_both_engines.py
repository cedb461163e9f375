"""The whole pipeline on the same input gives equal tables on both engines, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.project import Project
from lake.engine import Engine
from tests.pipeline import shop


@pytest.mark.spark
@pytest.mark.slow
def test_embedded_and_spark_give_equal_tables_on_the_simulated_shop(
    three_days: Project, tmp_path: Path, spark: Engine
) -> None:
    project = shop.new_project(tmp_path / "spark")
    for day in shop.last_days(3):
        shop.one_day(project, spark, day)
    shop.assert_same(shop.tables(three_days), shop.tables(project), ("embedded", "spark"))
