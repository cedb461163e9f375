"""Sessions of both engines: their settings, and that they end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from lake.engine import Engine, SparkEngine, open_engine
from lake.sail_session import environment
from lake.spark_jars import jars
from lake.spark_session import CATALOG, CATALOG_CLASS, EXTENSION, spark_session
from schemas.errors import NotThereError

ROOT = Path(__file__).parents[2]


def test_the_session_zone_is_utc_whatever_the_machine_has(engine: Engine) -> None:
    assert engine.spark.conf.get("spark.sql.session.timeZone") == "UTC"
    row = engine.spark.sql("select timestamp '2026-03-01 00:00:00' as at").toArrow().to_pylist()[0]
    assert row["at"].astimezone(UTC) == datetime(2026, 3, 1, tzinfo=UTC)


def test_the_embedded_engine_spills_and_is_bounded(tmp_path: Path) -> None:
    found = environment(tmp_path, cores=2, memory_bytes=1_000_000)
    assert found["SAIL_RUNTIME__MEMORY_POOL__TYPE"] == "fair"
    assert found["SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE"] == "1000000"
    assert str(tmp_path) in found["SAIL_RUNTIME__TEMPORARY_FILES__PATHS"]


def test_progress_of_spark_counts_every_task_once() -> None:
    engine = SparkEngine.__new__(SparkEngine)
    rows = [{"position": p, "result": "{}"} for p in (2, 0, 1)]
    frame = SimpleNamespace()
    frame.repartition = lambda *_: frame
    frame.mapInArrow = lambda *_: SimpleNamespace(toLocalIterator=lambda: iter(rows))
    engine.spark = SimpleNamespace(createDataFrame=lambda *_: frame)  # type: ignore[assignment]
    told: list[tuple[int, int]] = []
    engine.map("no:task", [{}, {}, {}], lambda *progress: told.append(progress))
    assert told == [(1, 3), (2, 3), (3, 3)]


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


def submit(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("spark-submit")
    command = [str(program), "--master", "local[2]", "--driver-memory", "1g", *settings]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }
    environment.pop("SPARK_CONNECT_MODE_ENABLED", None)
    script = str(ROOT / "tests" / "lake" / "submitted.py")
    return subprocess.run([*command, script, str(folder)], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.spark
@pytest.mark.slow
def test_under_spark_submit_frames_are_classic_and_everything_else_is_the_same(
    spark_parts: None, tmp_path: Path
) -> None:
    extension, catalog = f"spark.sql.extensions={EXTENSION}", f"{CATALOG}={CATALOG_CLASS}"
    done = submit(tmp_path, "--jars", ",".join(map(str, jars())), "--conf", extension, "--conf", catalog)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["frames"] == "pyspark.sql.session"
    assert (found["rows"], found["mapped"], found["zone"]) == (10, [{"n": 3}, {"n": 6}], "UTC")
    assert found["judged"] > 10


@pytest.mark.spark
@pytest.mark.slow
def test_a_submitted_session_without_delta_is_told_what_to_give(spark_parts: None, tmp_path: Path) -> None:
    done = submit(tmp_path)
    assert done.returncode != 0
    assert "does not know Delta: give spark-submit --conf spark.sql.extensions" in done.stderr + done.stdout
