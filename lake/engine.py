"""The two engines behind one thin interface.

``frame`` work is DataFrames in the PySpark API as far as Spark Connect has it; ``map`` runs pure Arrow tasks that
write their own Parquet files and return descriptors. Embedded is Sail in this process and a pool of processes; Spark
is delta-spark and ``mapInArrow``. The same code runs on both; ``tests/parity`` holds that it gives the same tables.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil
import pyarrow as pa

import schemas.errors
from lake.attempts import LakePlace, fetch_inputs, inputs_of, lake_place_of, run_attempt, taken_up
from lake.budget import Share, for_frames, give_back, of_a_worker, of_the_main_process, take
from lake.disk import is_full, pass_over_writers
from lake.folder_store import FolderStore
from lake.journal import finish, new_run_id
from lake.lake import Lake
from lake.spans import as_received, as_sent, listened, span, tell
from lake.store import Store, scheme
from lake.tree_memory import own_peak_mb, watch_own_peak
from schemas.arrow import ARROW, SPARK, arrow_schema
from schemas.contracts import contract
from schemas.errors import DiskFullError, HuaxiangError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from lake.spark_session import S3

Progress = Callable[[int, int], None]
"""Called with (done, total) after every finished task."""
Kind = Literal["embedded", "spark"]
FILES = "path string, holds string"
"""What tasks that write frames give: each file, and what it holds as JSON."""
BEYOND_ITS_SHARE = "OutOfMemoryException"
"""How DuckDB calls what does not fit its limit and cannot be spilled."""
PRELOADED = ["numpy", "pyarrow.compute", "pyarrow.parquet", "duckdb", "deltalake", "schemas.contracts"]


class Engine:
    """What both engines share: reading tables and files as frames, and writing frames as sorted, partitioned files."""

    name: Kind
    cores: int
    spark: SparkSession
    _work: tempfile.TemporaryDirectory[str]
    _links: dict[str, tuple[Lake, str]]
    """By the address of a lake, the id below which links to its files are noted, so that those of a killed process go, too."""
    is_apart = False
    """Whether tasks may run on another machine, more than once: each attempt then has paths of its own (lake/attempts.py)."""
    spills: Path | None = None
    """Below which frames and tasks spill; absent where that is not known."""
    store: Store | None = None
    """Where the paths of frames and tasks lie; absent, on disks that everybody sees."""

    def table(self, lake: Lake, table: str, version: int | None = None) -> DataFrame:
        """A Delta table at a version (latest if absent); an empty frame with its schema where it holds nothing."""
        files = lake.files(table, version)
        if not files:
            return self.empty(lake.schema(table, version))
        # The version is pinned even for "latest": an engine may hold on to an older snapshot of the same path.
        pinned = lake.version(table) if version is None else version
        # Sail finds no version that is older than the last checkpoint; Spark reads the log anew for every one that is named.
        is_old = pinned != lake.store.newest_version(lake.path(table))
        if (self.name == "spark" or lake.store.is_remote or is_old) and not self.is_apart:
            partitions = contract(table).partitions
            return self.files(lake, lake.path(table), [f.path for f in files], lake.schema(table, version), partitions)
        return self.spark.read.format("delta").option("versionAsOf", str(pinned)).load(self.place(lake.path(table)))

    def empty(self, schema: pa.Schema) -> DataFrame:
        return self.spark.createDataFrame([], _ddl(schema))

    def parquet(self, files: Iterable[str], schema: pa.Schema) -> DataFrame:
        """Plain files, read with an explicit schema; an empty frame if there are none."""
        paths = list(files)
        if not paths:
            return self.empty(schema)
        return self.spark.read.schema(_ddl(schema)).parquet(*self.places(paths))

    def place(self, path: str | Path) -> str:
        """A path as this engine opens it."""
        return (
            str(path) if self.store is None or not self.is_apart else self.store.url(path).replace("s3://", "s3a://", 1)
        )

    def places(self, paths: Sequence[str]) -> list[str]:
        """The same of files, which are there afterwards: fetched to this machine, or put where all machines see them."""
        if self.store is None:
            return list(paths)
        if not self.is_apart:
            return self.store.local(paths)
        self.store.share(p for p in paths if Path(p).is_file())
        return [self.place(p) for p in paths]

    def folder(self, folder: Path, schema: pa.Schema, partitions: Sequence[str] = ()) -> DataFrame:
        """Every file below a folder written hive-style, partition columns included and typed."""
        return self.files(None, folder, (self.store or FolderStore(folder)).below(folder), schema, partitions)

    def files(
        self, lake: Lake | None, base: Path, files: Sequence[str], schema: pa.Schema, partitions: Sequence[str]
    ) -> DataFrame:
        """Files below ``base`` in folders that name their partitions: all that lie there, or some of what ``lake`` has there."""
        from pyspark.sql import functions as F

        if not files:
            return self.empty(schema)
        # Sail reads partition columns of plain folders as text whatever the schema says: cast on both.
        data = pa.schema([f for f in schema if f.name not in partitions])
        keys = pa.schema([pa.field(f.name, pa.string()) for f in schema if f.name in partitions])
        reader = self.spark.read.schema(_ddl(pa.schema([*data, *keys])))
        if self.is_apart:
            found = reader.option("basePath", self.place(base)).parquet(*self.places(files))
        else:
            # Not a list of files: Sail then leaves out what the names of their folders say.
            places = self.places(files)
            folder = base if lake is None else self._linked(lake, base, places)
            found = reader.option("basePath", str(folder)).parquet(str(folder))
        return found.select(*(F.col(f.name).cast(_spark_type(f.type)).alias(f.name) for f in schema))

    def _linked(self, lake: Lake, base: Path, files: Sequence[str]) -> Path:
        """A folder with these files and no others, in folders that name their partitions; ``base`` where it is that."""
        folders = {part for file in files for part in Path(file).relative_to(base).parts[:-1]}
        if all("=" in f for f in folders) and base.is_dir() and {str(p) for p in base.rglob("*.parquet")} == set(files):
            return base
        # Hard links, on the disk of the files: Sail passes over symbolic ones, and folders with a dot, in silence.
        _, run_id = self._links.setdefault(lake.store.address, (lake, new_run_id("links")))
        folder = lake.scratch(run_id) / hashlib.sha256("\n".join(files).encode()).hexdigest()[:32]
        if folder.is_dir():
            return folder
        making = folder.with_name(f".{uuid.uuid4().hex}")
        for n, file in enumerate(files):
            partition = [part for part in Path(file).relative_to(base).parts[:-1] if "=" in part]
            place = making.joinpath(*partition)
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{n:06d}.parquet").hardlink_to(file)
        # Whole or not at all: a folder that lacked a file would be read as a table without its rows.
        return making.rename(folder)

    def staged(self, lake: Lake, table: str, folder: Path) -> DataFrame:
        """What was staged for a table, as the table would show it."""
        c = contract(table)
        schema = lake.schema(table) if c.open else arrow_schema(c)
        return self.folder(folder, schema, c.partitions)

    def write(self, df: DataFrame, folder: Path, partition_by: Sequence[str] = (), sort_by: Sequence[str] = ()) -> None:
        """One sorted file per partition below ``folder``; partitions that the frame lacks get none."""
        placed = df.repartition(*partition_by) if partition_by else df.coalesce(1)
        if sort_by:
            placed = placed.sortWithinPartitions(*partition_by, *sort_by)
        self._write(placed, folder, partition_by)

    def spread(self, df: DataFrame, folder: Path) -> None:
        """As many files below ``folder`` as the frame has tasks: of what grows with ids, not with a slice."""
        self._write(df, folder, ())

    def kept(self, df: DataFrame, folder: Path) -> DataFrame:
        """The frame's rows, computed once and read back from ``folder``: the embedded engine caches nothing."""
        (self.store or FolderStore(folder)).forget_below(folder)
        self.spread(df, folder)
        arrow = {ddl: ARROW[name] for name, ddl in SPARK.items()}
        return self.folder(folder, pa.schema([(f.name, arrow[f.dataType.simpleString()]) for f in df.schema.fields]))

    def _write(self, placed: DataFrame, folder: Path, partition_by: Sequence[str]) -> None:
        """Every task's rows, in their order, as Parquet below a folder; rows of a partition lie beside each other."""
        writer = placed.write.mode("append")
        with span("frames", _written(folder)):
            (writer.partitionBy(*partition_by) if partition_by else writer).parquet(str(folder))

    def warm(self, modules: Sequence[str]) -> None:
        """Start beside other work what tasks of these modules need; an engine that keeps no processes does nothing."""

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Progress | None = None) -> list[dict[str, Any]]:
        """Run ``"module:function"`` on every item, side by side; results in the order of the items.

        A HuaxiangError in a task is raised here as it was raised there; no further tasks are started.
        """
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def _cleanup(self) -> None:
        self._work.cleanup()
        for lake, run_id in self._links.values():
            finish(lake, run_id)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class EmbeddedEngine(Engine):
    """Sail and a process pool, both inside this machine."""

    name: Kind = "embedded"

    def __init__(self, cores: int, memory_bytes: int):
        self.cores = cores
        self.memory_bytes = memory_bytes
        self._links = {}
        self._work = tempfile.TemporaryDirectory(prefix="huaxiang-")
        self.spills = Path(self._work.name)
        self._share, self._own = (
            of_a_worker(memory_bytes, cores, self.spills),
            of_the_main_process(memory_bytes, self.spills),
        )
        take(self._own)
        self._pool: ProcessPoolExecutor | None = None
        self._spark: SparkSession | None = None
        self._stop: Callable[[], None] | None = None

    @property
    def spark(self) -> SparkSession:
        """Started on first use: many commands only map."""
        if self._spark is None:
            from lake.sail_session import sail_session

            pool_bytes = for_frames(self.memory_bytes)
            with span("start", "Sail"):
                self._spark, self._stop = sail_session(Path(self._work.name), self.cores, pool_bytes)
        return self._spark

    def warm(self, modules: Sequence[str]) -> None:
        pool = self._workers()
        for _ in range(self.cores):
            pool.submit(_import, modules)

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Progress | None = None) -> list[dict[str, Any]]:
        with span("tasks", task):
            if self.store is not None:
                fetch_inputs(self.store, items)
            return _collect(self._workers(), task, items, self._share, progress) if items else []

    def _workers(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # Not fork: delta-rs and Sail hold threads, and a forked child of theirs panics.
            context = get_context("forkserver")
            context.set_forkserver_preload(PRELOADED)
            self._pool = ProcessPoolExecutor(self.cores, context, initializer=begin_worker)
        return self._pool

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        if self._stop is not None:
            self._stop()
            self._spark = self._stop = None
        give_back(self._own)
        self._cleanup()


class SparkEngine(Engine):
    """Apache Spark with Delta: local, on a cluster, submitted, or a Connect address."""

    name: Kind = "spark"

    def __init__(self, where: str, cores: int, memory_bytes: int, s3: S3 | None = None):
        from lake.spark_session import spark_session

        self._links = {}
        self._work = tempfile.TemporaryDirectory(prefix="huaxiang-")
        self.cores = cores
        self.spark, self._stop = spark_session(where, Path(self._work.name), cores, memory_bytes, s3)
        self.is_apart = where != "local"
        self._share = None if self.is_apart else of_a_worker(memory_bytes, cores, Path(self._work.name))

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Progress | None = None) -> list[dict[str, Any]]:
        if not items:
            return []
        from lake.spark_map import results

        place = lake_place_of(self.store) if self.is_apart and self.store is not None else None
        texts = [json.dumps(item) for item in self._given(items)]
        runner = _arrow_runner(task, place, self._share)
        with span("tasks", task), closing(results(self.spark, runner, texts, progress)) as found:
            done = {position: _unwrapped(_told(result)) for position, result in found}
        made = [done[position] for position in range(len(items))]
        return made if place is None or self.store is None else [taken_up(self.store, outcome) for outcome in made]

    def _write(self, placed: DataFrame, folder: Path, partition_by: Sequence[str]) -> None:
        if not self.is_apart or self.store is None:
            super()._write(placed, folder, partition_by)
            return
        # Not by Spark's own writer: it renames, which an object store cannot, and nobody would say what its files hold.
        told = placed.mapInArrow(_file_writer(str(folder), tuple(partition_by), lake_place_of(self.store)), FILES)
        with span("frames", _written(folder)):
            self.store.describe({row["path"]: json.loads(row["holds"]) for row in told.collect()})

    def _given(self, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Items as their tasks are given them; files that only this machine has are put where every machine sees them."""
        if self.store is None:
            return list(items)
        if not self.is_apart:
            fetch_inputs(self.store, items)
            return list(items)
        given = [{"item": item, "inputs": inputs_of(self.store, item)} for item in items]
        self.store.share(f for g in given for files in g["inputs"].values() for f in files)
        return given

    def close(self) -> None:
        self._stop()
        self._cleanup()


def _import(modules: Sequence[str]) -> None:
    """Task of ``warm``; a module that is missing is told by the first task that needs it."""
    for name in modules:
        with suppress(ImportError):
            importlib.import_module(name)


def open_engine(
    kind: Kind,
    *,
    where: str = "local",
    cores: int | None = None,
    memory_gb: float | None = None,
    store: Store | None = None,
) -> Engine:
    """The engine that the project or ``--engine`` names; ``where`` is Spark's: local, submit, a cluster's or a Connect address.

    Absent, ``cores`` are those this process may use and ``memory_gb`` is half of the machine's. ``store`` is where the
    lake lies that it works on.
    """
    usable = cores or len(os.sched_getaffinity(0))
    memory_bytes = int(memory_gb * 2**30) if memory_gb else psutil.virtual_memory().total // 2
    if kind == "embedded":
        engine: Engine = EmbeddedEngine(usable, memory_bytes)
    else:
        engine = SparkEngine(where, usable, memory_bytes, _s3_of(store))
    engine.store = store
    return engine


def _s3_of(store: Store | None) -> S3 | None:
    """Where a lake on S3 answers; None for any other."""
    if store is None or scheme(store.address) != "s3":
        return None
    from lake.object_store import ObjectStore
    from lake.spark_session import S3

    assert isinstance(store, ObjectStore)
    return S3(store.options.endpoint, store.options.region)


def run_task(task: str, item: str, place: LakePlace | None = None) -> str:
    """One item through ``"module:function"``, errors of the user's making turned into a result.

    With a ``place`` it is one attempt: the item holds its inputs beside itself, the result what was written.
    """
    module, _, name = task.partition(":")
    try:
        function, given = getattr(importlib.import_module(module), name), json.loads(item)
        if place is not None:
            return json.dumps(run_attempt(function, given["item"], given["inputs"], place))
        return json.dumps(function(given))
    except HuaxiangError as e:
        return json.dumps({"__error__": type(e).__name__, "message": str(e)})
    except Exception as e:
        said = f"{task}: {str(e).splitlines()[0] if str(e) else type(e).__name__}"
        if type(e).__name__ == BEYOND_ITS_SHARE:
            advice = "raise `memory_gb` or lower `cores` in huaxiang.yaml, and run again"
            return json.dumps({"__error__": HuaxiangError.__name__, "message": f"{said}; {advice}"})
        if not is_full(e):
            raise
        return json.dumps({"__error__": DiskFullError.__name__, "message": said})


def run_timed(task: str, item: str, place: LakePlace | None = None, share: Share | None = None) -> str:
    """``run_task`` in a worker, within its share; beside the result when the task and what is in it began and ended."""
    take(share)
    watch_own_peak()
    with listened() as found, span("task", task):
        outcome = run_task(task, item, place)
    spans = as_sent(found.ended)
    spans[-1]["peak_memory_mb"] = own_peak_mb()
    return json.dumps({"outcome": outcome, "spans": spans})


def _told(result: str) -> str:
    """What the task gave; its spans are told of here."""
    found = json.loads(result)
    tell(as_received(found["spans"]))
    return str(found["outcome"])


def begin_worker() -> None:
    """How a process of ours begins: it ends with its parent, and without a word."""
    # Ctrl-C reaches every process: workers end without a word, and the caller says what happened.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.unraisablehook = pass_over_writers
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A pool's workers wait for ever for one that was killed, and hold its memory and its standard error meanwhile."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _written(folder: Path) -> str:
    return f"write {'/'.join(folder.parts[-3:])}"


def _unwrapped(result: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result)
    if "__error__" in found:
        raise getattr(schemas.errors, found["__error__"], HuaxiangError)(found["message"])
    return found


def _collect(
    pool: ProcessPoolExecutor, task: str, items: Sequence[dict[str, Any]], share: Share, progress: Progress | None
) -> list[dict[str, Any]]:
    pending: set[Future[str]] = set()
    found: dict[Future[str], dict[str, Any]] = {}
    try:
        futures = [pool.submit(run_timed, task, json.dumps(item), None, share) for item in items]
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, return_when=FIRST_COMPLETED)
            for f in finished:
                found[f] = _unwrapped(_told(f.result()))
            if progress is not None:
                progress(len(futures) - len(pending), len(futures))
    except BrokenProcessPool:
        raise HuaxiangError(
            f"a worker process of {task} was ended from outside; if the system's log says that memory ran out, "
            "set `cores: 1` in huaxiang.yaml or give the machine more, and run again"
        ) from None
    finally:
        for f in pending:
            f.cancel()
    return [found[f] for f in futures]


def _arrow_runner(
    task: str, place: LakePlace | None, share: Share | None
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        from lake.engine import run_timed as run_one

        for batch in batches:
            for position, item in zip(batch["position"].to_pylist(), batch["item"].to_pylist(), strict=True):
                yield pa.RecordBatch.from_pydict(
                    {
                        "position": pa.array([position], pa.int32()),
                        "result": pa.array([run_one(task, item, place, share)]),
                    }
                )

    return run


def _file_writer(
    folder: str, partition_by: Sequence[str], place: LakePlace
) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    def run(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        from lake.attempts import write_attempt

        written = write_attempt(batches, folder, partition_by, place)
        holds = [json.dumps(about) for about in written.values()]
        yield pa.RecordBatch.from_pydict(
            {"path": pa.array(list(written), pa.string()), "holds": pa.array(holds, pa.string())}
        )

    return run


def _spark_type(kind: pa.DataType) -> str:
    for name, arrow in ARROW.items():
        if arrow == kind:
            return SPARK[name]
    raise HuaxiangError(f"no Spark type for {kind}")


def _ddl(schema: pa.Schema) -> str:
    return ", ".join(f"`{f.name}` {_spark_type(f.type)}" for f in schema)
