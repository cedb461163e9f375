"""The whole pipeline on the same input gives equal tables on both engines, value for value."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.engine import Engine
from tests.pipeline import shop


@pytest.mark.spark
@pytest.mark.slow
def test_embedded_and_spark_give_equal_tables_on_the_simulated_shop(
    tmp_path: Path, embedded: Engine, spark: Engine
) -> None:
    """A first day, and a second one that adds to it."""
    made = {}
    for engine in (embedded, spark):
        project = shop.new_project(tmp_path / engine.name)
        for day in shop.last_days(2):
            shop.one_day(project, engine, day)
        made[engine.name] = shop.tables(project)
    shop.assert_same(made["embedded"], made["spark"], ("embedded", "spark"))
