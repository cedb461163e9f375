"""The embedded engine's session: Sail inside this process, spoken to through Spark Connect. No Java.

Its port asks for no password, so it is bound to the loopback address and a free port.
"""

from __future__ import annotations

import os
from pathlib import Path

from lake.spark_session import Session, remote

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

    def stop() -> None:
        spark.stop()
        server.stop()

    return Session(spark, stop)
