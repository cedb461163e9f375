"""Real data through the whole pipeline gives equal tables on both engines, value for value."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cli.datasets import unpack
from jobs.ingest.step import ingest
from jobs.pipeline import run
from lake.engine import Engine
from project import setup
from project.folder import Project
from tests.pipeline import shop


@pytest.mark.spark
@pytest.mark.slow
def test_embedded_and_spark_give_equal_tables_on_completejourney(
    tmp_path: Path, embedded: Engine, spark: Engine
) -> None:
    """Real orders, coupons and households, every eighth of them: 180 thousand lines, one day."""
    made = {}
    for engine in (embedded, spark):
        folder = tmp_path / engine.name
        setup.init(folder, "completejourney")
        project = Project.load(folder)
        last = unpack("completejourney", [], project.inbox)
        for name in ("transactions", "coupon_redemptions"):
            keep_every_eighth_household(project.inbox / "completejourney" / f"{name}.parquet")
        ingest(project, engine, received_at=shop.received(project, last))
        run(project, engine, last)
        made[engine.name] = shop.tables(project)
    shop.assert_same(made["embedded"], made["spark"], ("embedded", "spark"))


def keep_every_eighth_household(path: Path) -> None:
    table = pq.read_table(path)
    household = table["household_id"].cast(pa.int64()).to_numpy()
    pq.write_table(table.filter(pa.array(household % 8 == 0)), path)
