"""Sessions of both engines: their settings, and that they end."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from lake.engine import Engine, open_engine
from lake.sail_session import environment
from lake.spark_session import spark_session
from schemas.errors import NotThereError


def test_the_session_zone_is_utc_whatever_the_machine_has(engine: Engine) -> None:
    assert engine.spark.conf.get("spark.sql.session.timeZone") == "UTC"
    row = engine.spark.sql("select timestamp '2026-03-01 00:00:00' as at").toArrow().to_pylist()[0]
    assert row["at"].astimezone(UTC) == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_embedded_engine_spills_and_is_bounded(tmp_path: Path) -> None:
    found = environment(tmp_path, cores=2, memory_bytes=1_000_000)
    assert found["SAIL_RUNTIME__MEMORY_POOL__TYPE"] == "fair"
    assert found["SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE"] == "1000000"
    assert str(tmp_path) in found["SAIL_RUNTIME__TEMPORARY_FILES__PATHS"]


def test_two_embedded_engines_one_after_the_other_both_answer(embedded: Engine) -> None:
    for _ in range(2):
        with open_engine("embedded", memory_gb=1) as engine:
            assert engine.spark.range(10).count() == 10
    assert embedded.spark.range(3).count() == 3


def test_a_session_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyspark.core.context")
    with pytest.raises(NotThereError, match="local, submit or an address"):
        spark_session("yarn", tmp_path, cores=1, memory_bytes=1)


@pytest.mark.spark
def test_spark_reads_and_writes_delta(spark: Engine, tmp_path: Path) -> None:
    folder = str(tmp_path / "table")
    spark.spark.range(10).write.format("delta").save(folder)
    assert spark.spark.read.format("delta").load(folder).count() == 10


@pytest.mark.spark
def test_spark_writes_timestamps_that_read_back_with_their_zone(spark: Engine, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    folder = tmp_path / "stamps"
    spark.spark.sql("select timestamp '2026-03-01 00:00:00' as at").coalesce(1).write.parquet(str(folder))
    (path,) = folder.glob("*.parquet")
    assert str(pq.read_schema(path).field("at").type) == "timestamp[us, tz=UTC]"
