"""A standalone master with two workers: what runs there, also when a worker is lost or tasks run twice."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake

from jobs.ingest.step import ingest
from jobs.pipeline import run
from jobs.progress import Advance, Steps
from lake.engine import Engine, SparkEngine
from lake.folder_store import FolderStore
from lake.spark_cluster import SparkCluster, spark_cluster
from lake.spark_session import S3
from lake.store import is_of_attempt
from project.folder import SETTINGS_FILE, Project
from tests.pipeline import shop
from tests.pipeline.conftest import SALT
from tests.stores import Bucket, S3Server

pytestmark = [pytest.mark.spark, pytest.mark.slow]

OF_THE_CLUSTER = """spark.speculation true
spark.speculation.interval 200ms
spark.speculation.minTaskRuntime 2s
spark.speculation.quantile 0.5
spark.sql.shuffle.partitions 3
spark.sql.codegen.wholeStage false
spark.sql.codegen.factoryMode NO_CODEGEN
spark.executor.memory 1g
"""
(DAY,) = shop.last_days(1)
NAP, SLOW_AT_FIRST, MARK = (f"tests.lake.slow_items:{task}" for task in ("nap", "slow_at_first", "leave_a_mark"))


@pytest.fixture(scope="module")
def cluster(spark_parts: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkCluster]:
    with spark_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def lake_bucket(cluster: SparkCluster, s3_server: S3Server) -> Iterator[Bucket]:
    """A bucket that this process has the keys of, and a salt of ids. The workers began without them."""
    made = s3_server.bucket()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {**made.environment, "HUAXIANG_ID_SALT": SALT}.items():
            patched.setenv(name, value)
        yield made
    made.remove()


@pytest.fixture(scope="module")
def on_cluster(cluster: SparkCluster, lake_bucket: Bucket) -> Iterator[Engine]:
    """An engine there; the cluster's own settings come from its ``spark-defaults.conf``, speculation among them."""
    folder = cluster.folder / "conf"
    folder.mkdir()
    (folder / "spark-defaults.conf").write_text(OF_THE_CLUSTER, encoding="ascii")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SPARK_CONF_DIR", str(folder))
        with SparkEngine(cluster.address, 1, 2**30, S3(endpoint=lake_bucket.endpoint)) as engine:
            # Their Python processes begin with the first tasks.
            engine.map(NAP, [{"n": n, "seconds": 1} for n in range(2)])
            yield engine


def test_a_cluster_keeps_its_own_settings(on_cluster: Engine) -> None:
    assert on_cluster.spark.conf.get("spark.sql.shuffle.partitions") == "3"
    assert on_cluster.spark.conf.get("spark.sql.codegen.wholeStage") == "false"


def test_items_run_on_both_workers_at_once(on_cluster: Engine) -> None:
    """Six naps of two seconds, one core a worker; one after the other they would take twelve."""
    ran = on_cluster.map(NAP, [{"n": n, "seconds": 2} for n in range(6)])
    assert [r["n"] for r in ran] == [0, 1, 2, 3, 4, 5]
    assert max(r["ended"] for r in ran) - min(r["began"] for r in ran) < 9


def test_executors_read_and_write_s3(on_cluster: Engine, lake_bucket: Bucket) -> None:
    """A table that delta-rs wrote, Parquet written by two executors, and Parquet read; keys are this process's."""
    place = lake_bucket.uri.replace("s3://", "s3a://")
    write_deltalake(f"{lake_bucket.uri}/table", pa.table({"n": [1, 2, 3], "k": ["x", "y", "x"]}), partition_by=["k"])
    table = on_cluster.spark.read.format("delta").option("versionAsOf", "0").load(f"{place}/table")
    assert [r["n"] for r in table.where("k = 'x'").orderBy("n").collect()] == [1, 3]
    on_cluster.spark.range(0, 1000, 1, 2).write.parquet(f"{place}/files")
    written = [name for name in lake_bucket.stored() if name.endswith(".parquet") and "/files/" in name]
    assert len(written) == 2
    assert on_cluster.spark.read.parquet(f"{place}/files").where("id % 3 = 1").count() == 333


def test_an_item_that_a_second_attempt_overtakes_counts_once(on_cluster: Engine, tmp_path: Path) -> None:
    items = [{"n": n, "folder": str(tmp_path), "stalls": 90 if n == 1 else 0.2} for n in range(4)]
    began = time.time()
    ran = on_cluster.map(SLOW_AT_FIRST, items)
    assert time.time() - began < 60
    assert [r["n"] for r in ran] == [0, 1, 2, 3]
    attempts = sorted(path.name for path in tmp_path.glob("1-*"))
    assert len(attempts) == 2
    assert ran[1]["mark"] in attempts


def test_what_a_lost_worker_had_is_run_again_and_no_result_is_double(
    on_cluster: Engine, cluster: SparkCluster, tmp_path: Path
) -> None:
    """Another machine takes its place."""
    items = [{"n": n, "folder": str(tmp_path), "seconds": 3} for n in range(6)]

    def kill_once_two_run() -> None:
        while len(list(tmp_path.iterdir())) < 3:
            time.sleep(0.1)
        cluster.kill_worker(1)

    killer = threading.Thread(target=kill_once_two_run)
    killer.start()
    told: list[int] = []
    ran = on_cluster.map(MARK, items, lambda done, _: told.append(done))
    killer.join()
    assert [r["n"] for r in ran] == [0, 1, 2, 3, 4, 5]
    assert told == sorted(set(told)) and told[-1] == 6
    attempts = Counter(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert set(attempts) == {str(n) for n in range(6)} and max(attempts.values()) > 1
    assert cluster.workers[1].poll() is not None
    cluster.add_worker()


class KillsWhileProfiling(Steps):
    """A worker is lost three seconds after the profile has begun."""

    killed: float | None = None
    cluster: SparkCluster

    @contextmanager
    def step(self, name: str) -> Iterator[Advance]:
        if name.endswith("profile"):
            threading.Timer(3, self._kill).start()
        with super().step(name) as advance:
            yield advance

    def _kill(self) -> None:
        self.cluster.kill_worker(-1)
        self.killed = time.time()


def test_on_a_folder_that_all_see_frames_and_tasks_write_under_names_of_their_attempts(
    on_cluster: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And leave nothing beside what counts; a store is another place for the same."""
    store, stamps = FolderStore(tmp_path / "lake"), pa.timestamp("us", "UTC")
    monkeypatch.setattr(on_cluster, "store", store)
    folder = store.path("silver/rows")
    frame = on_cluster.spark.range(0, 1000, 1, 2).selectExpr("id % 3 as bucket", "id", "timestamp_micros(id) as at")
    on_cluster.write(frame, folder, ["bucket"], ["id"])
    files = store.below(folder)
    assert [Path(f).parent.name for f in files] == ["bucket=0", "bucket=1", "bucket=2"]
    assert all(is_of_attempt(Path(f).name) and Path(f).is_file() for f in files)
    assert sorted(p.as_posix() for p in store.folder.rglob("*") if p.is_file()) == files
    rows = pa.concat_tables([pq.ParquetFile(f).read() for f in files])
    assert dict(zip(rows.column_names, rows.schema.types, strict=True)) == {"id": pa.int64(), "at": stamps}
    assert rows["id"].to_pylist() == [n for b in range(3) for n in range(b, 1000, 3)]
    schema = pa.schema([("bucket", pa.int32()), ("id", pa.int64()), ("at", stamps)])
    again = on_cluster.folder(folder, schema, ["bucket"])
    kept = on_cluster.kept(again.where("bucket = 1"), store.path("ops/scratch/r/kept"))
    assert (kept.count(), again.count()) == (333, 1000)


def test_a_day_on_an_object_store_from_ingest_on_gives_the_tables_of_the_embedded_engine_though_a_worker_is_lost(
    on_cluster: Engine,
    cluster: SparkCluster,
    embedded: Engine,
    lake_bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With speculation on; value for value, no row double, and nothing left of attempts that did not count."""
    first = shop.new_project(tmp_path / "embedded")
    shop.one_day(first, embedded, DAY)
    # The driver's copies and those of the workers lie apart.
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "of the driver"))
    project = shop.new_project(tmp_path / "project")
    settings = project.folder / SETTINGS_FILE
    text = settings.read_text(encoding="utf-8")
    settings.write_text(re.sub("^lake:.*$", f"lake: {lake_bucket.uri}", text, flags=re.M), encoding="utf-8")
    project = Project.load(project.folder)
    shop.deliver(project, DAY)
    store = project.lake.store
    monkeypatch.setattr(on_cluster, "store", store)
    steps = KillsWhileProfiling(quiet=True)
    steps.cluster = cluster
    ingest(project, on_cluster, received_at=shop.received(project, DAY))
    run(project, on_cluster, DAY, steps=steps)
    assert steps.killed is not None
    cluster.add_worker()
    shop.assert_same(shop.tables(first), shop.tables(project), ("embedded", "cluster"))
    named = {f.path for table in project.lake.versions() for f in project.lake.files(table)}
    assert [n for n in store.names("") if is_of_attempt(n) and str(store.path(n)) not in named] == []


def test_the_command_says_where_it_runs_and_ctrl_c_ends_all_of_it(spark_parts: None) -> None:
    command = [sys.executable, "-m", "lake.spark_cluster", "--port", "0", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as kept:
        assert kept.stdout is not None
        said = kept.stdout.readline()
        parts = [p for p in psutil.Process(kept.pid).children(recursive=True) if p.name() == "java"]
        kept.send_signal(signal.SIGINT)
        said += kept.stdout.read()
    assert kept.returncode == 0
    assert "    engine: spark\n    spark: spark://127.0.0.1:" in said
    assert len(parts) == 2
    assert not psutil.wait_procs(parts, timeout=10)[1]
