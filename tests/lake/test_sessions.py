"""Sessions of both engines: their settings, and that they end."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lake.engine import Engine, open_engine
from lake.sail_session import environment
from lake.spark_cluster import spark_cluster
from lake.spark_jars import jars
from lake.spark_session import CATALOG, CATALOG_CLASS, EXTENSION, NEEDED, OF_S3, S3, remote, s3a_settings, spark_session
from schemas.errors import NotThereError
from tests.lake.submitted import THEIRS

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


def test_two_embedded_engines_one_after_the_other_both_answer(embedded: Engine) -> None:
    for _ in range(2):
        with open_engine("embedded", memory_gb=1) as engine:
            assert engine.spark.range(10).count() == 10
    assert embedded.spark.range(3).count() == 3


def test_a_session_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyspark.core.context")
    with pytest.raises(NotThereError, match=r"spark is local, submit, a cluster's address .* or a Connect address"):
        spark_session("yarn", tmp_path, cores=1, memory_bytes=1)


@pytest.mark.parametrize("scheme", ["spark", "sc"])
def test_an_address_where_nobody_answers_is_told_at_once(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("pyspark.core.context")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"{scheme}://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(NotThereError, match=f"answers at {address}.*refused"):
            spark_session(address, tmp_path, cores=1, memory_bytes=1)


def test_a_cluster_does_not_begin_on_a_port_that_is_taken(spark_parts: None, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(NotThereError, match=f"port {port} of 127.0.0.1 is taken"),
            spark_cluster(tmp_path, port=port),
        ):
            pass


def test_s3_is_where_the_project_says_or_else_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OF_S3:
        monkeypatch.delenv(name, raising=False)
    of_the_jvm, masks = "spark.hadoop.fs.s3a.", "spark.redaction.regex"
    nothing = s3a_settings(S3())
    assert list(nothing) == [masks]
    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://store.example")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "cn-north-1")
    assert s3a_settings(S3()) == nothing | {
        f"{of_the_jvm}endpoint": "https://store.example",
        f"{of_the_jvm}path.style.access": "true",
        f"{of_the_jvm}endpoint.region": "cn-north-1",
        "spark.executorEnv.AWS_ENDPOINT_URL": "https://store.example",
        "spark.executorEnv.AWS_DEFAULT_REGION": "cn-north-1",
    }
    monkeypatch.setenv("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true")
    found = s3a_settings(S3("https://other.example", "eu-west-1"))
    assert {name.removeprefix(of_the_jvm): found[name] for name in found if name.startswith(of_the_jvm)} == {
        "endpoint": "https://other.example",
        "path.style.access": "false",
        "endpoint.region": "eu-west-1",
    }


def test_keys_go_to_the_tasks_of_a_cluster_and_are_masked_where_spark_shows_its_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "of this process")
    found = s3a_settings(S3())
    keys = [name for name, value in found.items() if value == "of this process"]
    assert len(keys) == 3
    assert all(re.search(found["spark.redaction.regex"], name) for name in keys)


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


@pytest.mark.spark
def test_a_session_of_somebody_else_keeps_its_settings_but_those_that_numbers_rest_on(spark: Engine) -> None:
    builder = spark.spark.client._builder
    address = f"sc://{builder.endpoint}/;token={builder.token}"
    other = remote(address)
    before = {key: other.conf.get(key) for key in THEIRS}
    other.stop()
    with open_engine("spark", where=address, cores=17) as engine:
        assert {key: engine.spark.conf.get(key) for key in THEIRS} == before
        assert {key: engine.spark.conf.get(key) for key in NEEDED} == NEEDED
        ran = engine.map("tests.lake.slow_items:nap", [{"n": n, "seconds": 0} for n in range(3)])
        assert [r["n"] for r in ran] == [0, 1, 2]
    assert spark.spark.range(3).count() == 3


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
def test_inside_spark_submit_jobs_run_as_everywhere_and_the_settings_that_were_given_stand(
    spark_parts: None, tmp_path: Path
) -> None:
    given = {
        "spark.sql.extensions": EXTENSION,
        CATALOG: CATALOG_CLASS,
        "spark.sql.shuffle.partitions": "7",
        "spark.sql.adaptive.enabled": "false",
        "spark.databricks.delta.snapshotPartitions": "3",
        "spark.sql.session.timeZone": "Asia/Shanghai",
        "spark.sql.ansi.enabled": "false",
        "spark.sql.parquet.outputTimestampType": "INT96",
    }
    done = submit(
        tmp_path, "--jars", ",".join(map(str, jars())), *(f"--conf={key}={value}" for key, value in given.items())
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["frames"] == "pyspark.sql.connect.session"
    assert found["rows"] == 10
    assert [r["n"] for r in found["mapped"]] == [0, 1, 2, 3, 4, 5]
    # Six naps of two seconds on two slots; one after the other they would take twelve.
    assert max(r["ended"] for r in found["mapped"]) - min(r["began"] for r in found["mapped"]) < 9
    assert found["judged"] > 10
    assert {key: found["settings"][key] for key in THEIRS} == {key: given[key] for key in THEIRS}
    assert {key: found["settings"][key] for key in NEEDED} == NEEDED


@pytest.mark.spark
@pytest.mark.slow
def test_a_submitted_session_without_delta_is_told_what_to_give(spark_parts: None, tmp_path: Path) -> None:
    done = submit(tmp_path)
    assert done.returncode != 0
    assert "does not know Delta: give spark-submit --conf spark.sql.extensions" in done.stderr + done.stdout
