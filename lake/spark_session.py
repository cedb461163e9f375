"""A Spark session with the settings that the lake relies on: local, inside spark-submit, or at a Connect address.

A local session is reached through Spark Connect as well, so that jobs speak one dialect on both engines; only under
spark-submit are they classic frames. Needs the extra ``spark`` and, save at an address, Java and Delta's jars.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lake.spark_jars import cache_folder, jars, java_version
from schemas.errors import ConfigurationError, NotThereError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CONNECT_ADDRESS = "sc://"
EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG = "spark.sql.catalog.spark_catalog"
CATALOG_CLASS = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
MIB = 1024 * 1024
_MODE = "SPARK_CONNECT_MODE_ENABLED"
# Level warn and a filter, not level error: Spark's shell announces on the console that it changes another level.
_LOGGING = """rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.filter.level.type = ThresholdFilter
appender.console.filter.level.level = error
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
# Errors of a query reach the client, who says them in one line.
logger.connect.name = org.apache.spark.sql.connect
logger.connect.level = off
"""


class Session(NamedTuple):
    """A session and how to end it."""

    spark: SparkSession
    stop: Callable[[], None]


def settings(work: Path, cores: int, memory_bytes: int) -> dict[str, str]:
    """Settings of a session that we start ourselves.

    ``work`` takes spills and shuffles; ``cores`` bounds tasks and shuffle partitions; ``memory_bytes`` is the heap.
    """
    found = jars()
    path = os.pathsep.join(str(j) for j in found)
    logging = work / "log4j2.properties"
    logging.write_text(_LOGGING, encoding="utf-8")
    options = ["-XX:+UseParallelGC", f"-Dlog4j2.configurationFile={logging}", f"-Djava.io.tmpdir={work}"]
    archive = shared_classes()
    if archive.exists():
        # Without a word where the archive does not fit this Java: then classes are loaded as ever.
        options += ["-Xshare:auto", f"-XX:SharedArchiveFile={archive}", "-Xlog:disable", "-Xlog:all=error:stderr"]
    return {
        **runtime_settings(cores),
        "spark.sql.extensions": EXTENSION,
        CATALOG: CATALOG_CLASS,
        "spark.jars": ",".join(str(j) for j in found),
        # On the class path as well: classes of spark.jars cannot be shared between starts.
        "spark.driver.extraClassPath": path,
        "spark.driver.memory": f"{max(memory_bytes // MIB, 512)}m",
        "spark.driver.extraJavaOptions": " ".join(options),
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(work),
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.python.worker.reuse": "true",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
    }


def runtime_settings(cores: int) -> dict[str, str]:
    """Settings that may be given to a session that runs already, on whatever cluster."""
    return {
        # Business days are cut by from_utc_timestamp; a session zone of its own would cut them twice.
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(max(cores, 2)),
        # INT96, the default, reads back without a zone.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # 50 by default: most of the time of a small job.
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        "spark.sql.ansi.enabled": "true",
    }


def shared_classes() -> Path:
    """The archive of loaded classes, made by ``python -m lake.spark_session``.

    With it a session, a first query and a first Delta write cost 21 CPU-seconds, without 29 (two cores, Java 17).
    """
    import pyspark

    return cache_folder().parent / f"spark-{pyspark.__version__}-java-{java_version()}.jsa"


def archive_classes() -> Path:
    """Makes the archive from what a small round of reading and writing loads; once per Java and Spark."""
    archive = shared_classes()
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    made = archive.with_suffix(f".{os.getpid()}")
    try:
        with tempfile.TemporaryDirectory(prefix="huaxiang-") as name:
            _small_round(Path(name), f"-XX:ArchiveClassesAtExit={made} -Xlog:disable")
        made.replace(archive)
    finally:
        made.unlink(missing_ok=True)
    return archive


def _small_round(work: Path, java_options: str) -> None:
    """What most jobs load: an aggregate, a join, Parquet and Delta written and read."""
    session = _local(work, 2, 1024 * MIB, java_options)
    from pyspark.sql import functions as F

    frame = session.spark.range(1000).withColumn("third", F.col("id") % 3)
    totals = frame.groupBy("third").agg(F.sum("id").alias("total"), F.countDistinct("id").alias("ids"))
    for form in ("parquet", "delta"):
        totals.write.format(form).partitionBy("third").save(str(work / form))
    session.spark.read.format("delta").load(str(work / "delta")).join(frame, "third").orderBy("id").toPandas()
    session.stop()


def spark_session(where: str, work: Path, cores: int, memory_bytes: int) -> Session:
    """A session by ``where``: ``local``, ``submit`` (the session that spark-submit made) or ``sc://host:port``.

    NotThereError where the extra, Java or a jar is missing, each with what to do.
    """
    if where.startswith(CONNECT_ADDRESS):
        return _connected(where, cores)
    try:
        import pyspark.core.context  # noqa: F401  only the full pyspark has it
    except ImportError:
        raise NotThereError("engine spark needs the extra: pip install 'huaxiang[spark]'") from None
    if where == "submit":
        return _submitted(cores)
    if where != "local":
        raise NotThereError(f"spark is local, submit or an address {CONNECT_ADDRESS}HOST:PORT, not {where!r}")
    return _local(work, cores, memory_bytes)


def remote(address: str) -> SparkSession:
    """A session of its own at a Spark Connect address."""
    # Its handlers run in every child that is forked, and now and then kill the one that becomes Spark's JVM.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    with _named_main():
        from pyspark.sql.connect.session import SparkSession as RemoteSession

    # Functions of pyspark.sql choose their dialect by this variable, not by the session.
    os.environ[_MODE] = "1"
    return RemoteSession.builder.remote(address).create()


@contextmanager
def _named_main() -> Iterator[None]:
    """A main module with a file, while Spark Connect is imported.

    It takes a process without one (``python -c``, a worker of a test run) for its own doctests, looks for a whole Spark,
    and ends the process where there is only the client.
    """
    main = sys.modules["__main__"]
    nameless = main.__spec__ is None and not hasattr(main, "__file__")
    if nameless:
        main.__file__ = ""
    try:
        yield
    finally:
        if nameless:
            del main.__file__


def _connected(address: str, cores: int) -> Session:
    spark = remote(address)
    for key, value in runtime_settings(cores).items():
        spark.conf.set(key, value)
    return Session(spark, spark.stop)


def _submitted(cores: int) -> Session:
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.getOrCreate()
    if EXTENSION not in spark.conf.get("spark.sql.extensions", ""):
        raise ConfigurationError(
            "this Spark session does not know Delta: give spark-submit "
            f"--conf spark.sql.extensions={EXTENSION} --conf {CATALOG}={CATALOG_CLASS} "
            f"--jars {','.join(str(j) for j in jars())}"
        )
    for key, value in runtime_settings(cores).items():
        spark.conf.set(key, value)
    return Session(spark, spark.stop)


def _local(work: Path, cores: int, memory_bytes: int, java_options: str = "") -> Session:
    from pyspark import SparkConf, SparkContext
    from pyspark.sql import SparkSession as ClassicSession

    java_version()
    work.mkdir(parents=True, exist_ok=True)
    token = uuid.uuid4().hex
    conf = SparkConf().setAppName("huaxiang").setMaster(f"local[{cores}]")
    conf.setAll(list(settings(work, cores, memory_bytes).items()))
    if java_options:
        conf.set("spark.driver.extraJavaOptions", f"{conf.get('spark.driver.extraJavaOptions')} {java_options}")
    conf.set("spark.plugins", "org.apache.spark.sql.connect.SparkConnectPlugin")
    conf.set("spark.connect.authenticate.token", token)
    os.environ.pop(_MODE, None)
    # The JVM hands these on: its address, and the Python that its workers run.
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    os.environ["PYSPARK_PYTHON"] = sys.executable
    context = SparkContext(conf=conf)
    server = ClassicSession(context)
    service = getattr(context._jvm, "org.apache.spark.sql.connect.service.SparkConnectService$")
    port = getattr(service, "MODULE$").localPort()
    # By this name and no other the client sends a token without TLS.
    spark = remote(f"sc://localhost:{port}/;token={token}")
    for key, value in runtime_settings(cores).items():
        spark.conf.set(key, value)

    def stop() -> None:
        spark.stop()
        gateway = context._gateway
        server.stop()
        gateway.shutdown()
        # The JVM ends when its input does; a next session gets a new one, with its own settings.
        gateway.proc.stdin.close()
        gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = None

    return Session(spark, stop)


if __name__ == "__main__":
    print(f"classes of a Spark start are archived in {archive_classes()}")
