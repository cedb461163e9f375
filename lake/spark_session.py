"""A Spark session with the settings that the lake relies on: local, on a cluster, inside spark-submit, or at an address.

Every one is reached through Spark Connect, so that jobs speak one dialect on both engines. Needs the extra ``spark`` and,
save at a Connect address, Java and Delta's jars.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from lake.spans import span
from lake.spark_jars import S3 as S3_JARS
from lake.spark_jars import cache_folder, jars, java_version
from schemas.errors import ConfigurationError, NotThereError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

CONNECT_ADDRESS = "sc://"
CLUSTER_ADDRESS = "spark://"
EXTENSION = "io.delta.sql.DeltaSparkSessionExtension"
CATALOG = "spark.sql.catalog.spark_catalog"
CATALOG_CLASS = "org.apache.spark.sql.delta.catalog.DeltaCatalog"
MIB = 1024 * 1024
IDLE = "7d"
_MODE = "SPARK_CONNECT_MODE_ENABLED"
OF_S3 = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "AWS_ALLOW_HTTP",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
)
"""Variables by which this process reaches S3, and tasks on a cluster of ours too."""
_SNAPSHOTS = "spark.databricks.delta.snapshotPartitions"
FEW_SNAPSHOTS = "2"
"""50 by default: most of the time of a small job."""
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
# Who waits for a cluster without room is told so, and of executors that were lost.
appender.waiting.type = Console
appender.waiting.name = waiting
appender.waiting.target = SYSTEM_ERR
appender.waiting.layout.type = PatternLayout
appender.waiting.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n
logger.scheduler.name = org.apache.spark.scheduler.TaskSchedulerImpl
logger.scheduler.level = warn
logger.scheduler.additivity = false
logger.scheduler.appenderRef.waiting.ref = waiting
"""
NEEDED = {
    # Business days are cut by from_utc_timestamp; a session zone of its own would cut them twice.
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    # INT96, the default, reads back without a zone.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A sum that does not fit is an error, never another number.
    "spark.sql.ansi.enabled": "true",
    # A file that cannot be read is an error, never rows fewer.
    "spark.sql.files.ignoreCorruptFiles": "false",
    "spark.sql.files.ignoreMissingFiles": "false",
}
"""What numbers and rows rest on, given to every session. All else is left as whoever keeps the cluster set it."""


class Session(NamedTuple):
    """A session and how to end it."""

    spark: SparkSession
    stop: Callable[[], None]


class S3(NamedTuple):
    """Where a store of S3's protocol answers, as far as the environment's ``AWS_*`` do not say it."""

    endpoint: str | None = None
    region: str | None = None


def settings(work: Path, memory_bytes: int, host: str) -> dict[str, str]:
    """Settings of a driver that we start ourselves, whatever its master.

    ``work`` takes spills and shuffles, ``memory_bytes`` is the heap, ``host`` the address that executors find it at.
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
        **NEEDED,
        "spark.sql.extensions": EXTENSION,
        CATALOG: CATALOG_CLASS,
        "spark.jars": ",".join(str(j) for j in found),
        # On the class path as well: classes of spark.jars cannot be shared between starts.
        "spark.driver.extraClassPath": path,
        "spark.driver.memory": f"{max(memory_bytes // MIB, 512)}m",
        "spark.driver.extraJavaOptions": " ".join(options),
        "spark.driver.bindAddress": host,
        "spark.driver.host": host,
        "spark.sql.warehouse.dir": str(work / "warehouse"),
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }


def local_settings(work: Path, cores: int) -> dict[str, str]:
    """Beside them for a Spark of one machine: Spark's own are made for clusters."""
    return {
        "spark.local.dir": str(work),
        "spark.sql.shuffle.partitions": str(max(cores, 2)),
        _SNAPSHOTS: FEW_SNAPSHOTS,
    }


def cluster_settings() -> dict[str, str]:
    """Beside them for an application on a cluster: executors find our packages where the driver has them.

    A path that is not there does no harm where the packages are installed on every machine. How many executors, with
    how much memory, and all other settings of the cluster stand in its ``spark-defaults.conf`` (SPARK_CONF_DIR).
    """
    return {"spark.executorEnv.PYTHONPATH": str(Path(__file__).parents[1])}


def s3a_settings(s3: S3) -> dict[str, str]:
    """How every machine of a cluster reaches S3: its JVM as ``s3a://``, its tasks by the environment, as this process does.

    Keys are those of this process's environment, or machines have roles; where Spark shows its settings they are masked.
    """
    found = {f"spark.executorEnv.{name}": os.environ[name] for name in OF_S3 if name in os.environ}
    found["spark.redaction.regex"] = "(?i)secret|password|token|access[._]?key"
    endpoint = s3.endpoint or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        by_host = os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() == "true"
        found["spark.hadoop.fs.s3a.endpoint"] = endpoint
        found["spark.hadoop.fs.s3a.path.style.access"] = "false" if by_host else "true"
    region = s3.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        found["spark.hadoop.fs.s3a.endpoint.region"] = region
    return found


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


def spark_session(where: str, work: Path, cores: int, memory_bytes: int, s3: S3 | None = None) -> Session:
    """A session by ``where``: ``local``, ``spark://host:port``, ``submit`` (what spark-submit began) or ``sc://host:port``.

    ``cores`` counts for local only: a cluster gives what it has. ``s3`` says that the lake is on S3 and how a cluster that
    runs our driver reaches it; sessions of others know it by themselves, and a local one reads this machine's copies.
    NotThereError where the extra, Java, a jar or the cluster is missing, each with what to do.
    """
    if where.startswith(CONNECT_ADDRESS):
        return _connected(where)
    try:
        import pyspark.core.context  # noqa: F401  only the full pyspark has it
    except ImportError:
        raise NotThereError("engine spark needs the extra: pip install 'huaxiang[spark]'") from None
    if where == "submit":
        return _submitted()
    if where == "local":
        return _local(work, cores, memory_bytes)
    if where.startswith(CLUSTER_ADDRESS):
        return _on_cluster(where, work, memory_bytes, s3)
    raise NotThereError(
        f"spark is local, submit, a cluster's address {CLUSTER_ADDRESS}HOST:PORT or a Connect address "
        f"{CONNECT_ADDRESS}HOST:PORT, not {where!r}"
    )


def remote(address: str) -> SparkSession:
    """A session of its own at a Spark Connect address."""
    # Its handlers run in every child that is forked, and now and then kill the one that becomes Spark's JVM.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    with _named_main():
        from pyspark.sql.connect.session import SparkSession as RemoteSession

    # Functions of pyspark.sql choose their dialect by this variable, not by the session.
    os.environ[_MODE] = "1"
    spark = RemoteSession.builder.remote(address).create()
    for action in ("to_table", "to_pandas", "execute_command"):
        setattr(spark.client, action, _timed(getattr(spark.client, action), action))
    return spark


def _timed(act: Callable[..., Any], name: str) -> Callable[..., Any]:
    """What has the engine compute something, as a span."""

    @wraps(act)
    def timed(*args: Any, **kwargs: Any) -> Any:
        with span("frames", name):
            return act(*args, **kwargs)

    return timed


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


def _connected(address: str) -> Session:
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    try:
        # The client would try again and again for minutes, without a word.
        _answering(DefaultChannelBuilder(address).endpoint)
    except OSError as e:
        raise NotThereError(f"no Spark Connect server answers at {address}: {e}") from None
    return _needing(remote(address))


def _needing(spark: SparkSession) -> Session:
    for key, value in NEEDED.items():
        spark.conf.set(key, value)
    return Session(spark, spark.stop)


def _submitted() -> Session:
    from pyspark import SparkContext

    begun = SparkContext._active_spark_context is not None
    os.environ.pop(_MODE, None)
    context = SparkContext.getOrCreate()
    if EXTENSION not in context.getConf().get("spark.sql.extensions", ""):
        raise ConfigurationError(
            "this Spark session does not know Delta: give spark-submit "
            f"--conf spark.sql.extensions={EXTENSION} --conf {CATALOG}={CATALOG_CLASS} "
            f"--jars {','.join(str(j) for j in jars())}"
        )
    spark, end = _served(context)

    def stop() -> None:
        end()
        if not begun:
            context.stop()

    return Session(spark, stop)


def _local(work: Path, cores: int, memory_bytes: int, java_options: str = "") -> Session:
    host = "127.0.0.1"
    given = {**_driver(work, memory_bytes, host), **local_settings(work, cores)}
    if java_options:
        given["spark.driver.extraJavaOptions"] += f" {java_options}"
    return _started(f"local[{cores}]", host, given)


def _on_cluster(master: str, work: Path, memory_bytes: int, s3: S3 | None) -> Session:
    host = _address_towards(master)
    given = {**_driver(work, memory_bytes, host), **cluster_settings()}
    if s3 is not None:
        given |= s3a_settings(s3)
        # Not on the class path, where they would put the archive of classes out of use.
        given["spark.jars"] = ",".join([given["spark.jars"], *(str(j) for j in jars(pins=S3_JARS))])
    session = _started(master, host, given)
    if session.spark.conf.get(_SNAPSHOTS, None) is None:
        session.spark.conf.set(_SNAPSHOTS, FEW_SNAPSHOTS)
    return session


def _driver(work: Path, memory_bytes: int, host: str) -> dict[str, str]:
    java_version()
    work.mkdir(parents=True, exist_ok=True)
    return settings(work, memory_bytes, host)


def _address_towards(master: str) -> str:
    """This machine's address as the cluster sees it; NotThereError where none of its masters answers."""
    refused = []
    for place in master.removeprefix(CLUSTER_ADDRESS).split(","):
        try:
            return _answering(place)
        except (OSError, ValueError) as e:
            refused.append(f"{place}: {e}")
    raise NotThereError(
        f"no Spark master answers at {master} ({'; '.join(refused)}); `make cluster` starts a small one"
    )


def _answering(place: str) -> str:
    """Our own address on the way to ``host:port``; OSError where nobody listens there."""
    host, _, port = place.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        found: str = connection.getsockname()[0]
        return found


def _started(master: str, host: str, given: dict[str, str]) -> Session:
    """A session of a JVM of our own."""
    from pyspark import SparkConf, SparkContext

    os.environ.pop(_MODE, None)
    # The JVM hands these on: its address, and the Python that its workers run.
    os.environ["SPARK_LOCAL_IP"] = host
    os.environ["PYSPARK_PYTHON"] = sys.executable
    conf = SparkConf().setAppName("huaxiang").setMaster(master).setAll(list(given.items()))
    context = SparkContext(conf=conf)
    spark, end = _served(context)

    def stop() -> None:
        end()
        gateway = context._gateway
        context.stop()
        gateway.shutdown()
        # The JVM ends when its input does; a next session gets a new one, with its own settings.
        gateway.proc.stdin.close()
        gateway.proc.wait()
        SparkContext._gateway = SparkContext._jvm = None

    return Session(spark, stop)


def _served(context: SparkContext) -> Session:
    """A session through Spark Connect on a context of this process: on the loopback, for who knows the token only."""
    from pyspark.sql import SparkSession as ClassicSession

    ClassicSession(context)
    token = uuid.uuid4().hex
    jvm = context._jvm
    own = jvm.org.apache.spark.SparkEnv.get().conf()
    own.set("spark.connect.grpc.binding.address", "127.0.0.1")
    own.set("spark.connect.grpc.binding.port", "0")
    own.set("spark.connect.authenticate.token", token)
    # Hours may pass between two queries; then the server would forget the session, after one by default.
    own.set("spark.connect.session.manager.defaultSessionTimeout", IDLE)
    service = getattr(getattr(jvm, "org.apache.spark.sql.connect.service.SparkConnectService$"), "MODULE$")
    service.start(context._jsc.sc())
    # By this name and no other the client sends a token without TLS.
    spark = _needing(remote(f"sc://localhost:{service.localPort()}/;token={token}")).spark

    def stop() -> None:
        spark.stop()
        none = getattr(getattr(jvm, "scala.Option$"), "MODULE$").empty()
        service.stop(none, none)

    return Session(spark, stop)


if __name__ == "__main__":
    print(f"classes of a Spark start are archived in {archive_classes()}")
