"""Items side by side on Spark: a task an item, results as they come, and an end to all of it when one fails."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

MOST_TASKS = 1_000
"""Beyond, a task runs several items one after the other: a task costs Spark some 20 to 50 ms of its own."""
ITEMS, RESULTS = "position int, item string", "position int, result string"
_SLICES = "spark.sql.leafNodeDefaultParallelism"

Runner = Callable[[Iterable["pa.RecordBatch"]], Iterable["pa.RecordBatch"]]
"""Batches of ITEMS to batches of RESULTS, as ``mapInArrow`` calls it on an executor."""


def results(
    spark: SparkSession, run: Runner, items: Sequence[str], progress: Callable[[int, int], None] | None
) -> Generator[tuple[int, str]]:
    """Position and result of every item, each once, in the order of the items.

    They all run at the same time, as many as the cluster has slots; Spark runs again what a lost executor had. A
    result is given once those before it are there too. Whoever stops asking (``close``) ends what still runs, so that
    after a failure nothing is waited for but what had started before the item that failed. ``progress`` is called
    with (finished, all) whenever more have finished, in whatever order they did.
    """
    # Through Spark Connect alone: classic frames give an iterator that runs its partitions one by one.
    from pyspark.errors import PySparkException

    tasks = min(len(items), MOST_TASKS)
    tag = f"map-{uuid.uuid4().hex}"
    ended = False
    with _slices(spark, tasks), _finished(spark, len(items), tasks, progress):
        spark.addTag(tag)
        try:
            # A frame of local rows is cut into even slices; repartition by a key would leave a third of them empty.
            frame = spark.createDataFrame(list(enumerate(items)), ITEMS)
            for row in frame.mapInArrow(run, RESULTS).toLocalIterator():
                yield row["position"], row["result"]
            ended = True
        except PySparkException:
            ended = True
            raise
        finally:
            if not ended:
                spark.interruptTag(tag)
            spark.removeTag(tag)


@contextmanager
def _slices(spark: SparkSession, tasks: int) -> Iterator[None]:
    """Local rows are cut into ``tasks`` partitions in here."""
    before = spark.conf.get(_SLICES, None)
    spark.conf.set(_SLICES, str(tasks))
    try:
        yield
    finally:
        if before is None:
            spark.conf.unset(_SLICES)
        else:
            spark.conf.set(_SLICES, before)


@contextmanager
def _finished(
    spark: SparkSession, items: int, tasks: int, progress: Callable[[int, int], None] | None
) -> Iterator[None]:
    """Tells ``progress`` of items whose tasks have ended; Spark says so about every other second, and at the end."""
    if progress is None:
        yield
        return
    told = 0

    def tell(stages: Iterable[object] | None, **_: object) -> None:
        nonlocal told
        tasks_done = max((int(s.num_completed_tasks) for s in stages or ()), default=0)  # type: ignore[attr-defined]
        count = min(tasks_done * items // tasks, items)
        if count > told:
            told = count
            progress(told, items)

    spark.registerProgressHandler(tell)
    try:
        yield
    finally:
        spark.removeProgressHandler(tell)
    if told < items:
        progress(items, items)
