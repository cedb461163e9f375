"""The embedded engine's session: Sail inside this process, spoken to through Spark Connect. No Java.

Its port asks for no password, so it is bound to the loopback address and a free port.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lake.spark_session import Session, remote

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

IDLE_SECONDS = 7 * 24 * 3600


def environment(work: Path, cores: int, memory_bytes: int) -> dict[str, str]:
    """What Sail reads when it is imported.

    ``work`` takes spills, ``memory_bytes`` bounds what queries hold before they spill (unbounded by default), and
    an idle session would end after 900 seconds.
    """
    return {
        "SAIL_RUNTIME__MEMORY_POOL__TYPE": "fair",
        "SAIL_RUNTIME__MEMORY_POOL__FAIR__MAX_SIZE": str(memory_bytes),
        "SAIL_RUNTIME__TEMPORARY_FILES__PATHS": f'["{work}"]',
        "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(cores),
        "SAIL_SPARK__SESSION_TIMEOUT_SECS": str(IDLE_SECONDS),
        "RUST_LOG": os.environ.get("RUST_LOG", "error"),
    }


def sail_session(work: Path, cores: int, memory_bytes: int) -> Session:
    """A session on an own server in this process. Settings hold for the process: the first call's are kept."""
    work.mkdir(parents=True, exist_ok=True)
    os.environ.update(environment(work, cores, memory_bytes))
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    spark = remote(f"sc://{host}:{port}")
    spark.conf.set("spark.sql.session.timeZone", "UTC")

    _end_at_once(spark)

    def stop() -> None:
        spark.stop()
        server.stop()

    return Session(spark, stop)


def _end_at_once(spark: SparkSession) -> None:
    """Ctrl-C ends the server too, and nobody brings it back: the client asks it for nothing more.

    Otherwise it asks it to interrupt the query and to release the session, again and again for minutes.
    """
    spark.client.set_retry_policies([])
    spark.client.interrupt_operation = lambda operation_id: []
    spark.release_session_on_close = False
