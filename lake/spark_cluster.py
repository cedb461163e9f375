"""A small Spark cluster on this machine: a standalone master and its workers on the loopback, from the pip distribution.

``python -m lake.spark_cluster`` (``make cluster``) keeps one until Ctrl-C, to try what a cluster does before there is one.
It asks nobody for a password, so it binds the loopback address alone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from ipaddress import IPv4Address
from pathlib import Path

import psutil

from lake.spark_jars import java
from schemas.errors import HuaxiangError, NotThereError

HOST = "127.0.0.1"
PORT = 7077
STARTS_WITHIN = 90.0
_CLASSES = "org.apache.spark.deploy"


@dataclass
class SparkCluster:
    """A running master and its workers."""

    address: str
    page_port: int
    master: subprocess.Popen[bytes]
    folder: Path
    cores: int
    memory_mib: int
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def add_worker(self) -> None:
        """One more machine, on the network as soon as it has started; applications that still want cores get an executor there."""
        n = len(self.workers)
        # The loopback network has an address for each: Spark runs no second attempt of a task on the host of the first.
        name, host = f"worker-{n + 1}", str(IPv4Address(HOST) + n)
        room = ["--host", host, "--webui-port", "0", "--cores", str(self.cores), "--memory", f"{self.memory_mib}m"]
        room += ["--work-dir", str(self.folder / name), self.address]
        self.workers.append(_start(self.folder, name, host, f"{_CLASSES}.worker.Worker", *room))

    def kill_worker(self, number: int) -> None:
        """As a machine that is switched off: the worker, its executor and their Python processes at once."""
        _kill(self.workers[number])

    def alive(self) -> int:
        """Workers that the master counts on; 0 while it does not answer yet."""
        with suppress(OSError, ValueError, HTTPException):
            asked = HTTPConnection(HOST, self.page_port, timeout=5)
            asked.request("GET", "/json/")
            return int(json.load(asked.getresponse())["aliveworkers"])
        return 0


@contextmanager
def spark_cluster(
    folder: Path, *, workers: int = 2, cores: int = 1, memory_mib: int = 1024, port: int = 0
) -> Iterator[SparkCluster]:
    """A cluster for the time of the block, each worker with ``cores`` and ``memory_mib`` for its executors.

    ``folder`` takes logs and what executors keep; ``port`` 0 is any free one. NotThereError without Java, Spark or a
    free port, HuaxiangError with the end of the log where a part does not come up.
    """
    java()
    port = _free(port)
    page = _free(0)
    where = ["--host", HOST, "--port", str(port), "--webui-port", str(page)]
    master = _start(folder, "master", HOST, f"{_CLASSES}.master.Master", *where)
    found = SparkCluster(f"spark://{HOST}:{port}", page, master, folder, cores, memory_mib)
    try:
        for _ in range(workers):
            found.add_worker()
        _wait(found, workers)
        yield found
    finally:
        # Workers first: they end their executors.
        for process in (*found.workers, master):
            _end(process)


def _start(folder: Path, name: str, host: str, what: str, *arguments: str) -> subprocess.Popen[bytes]:
    home = _spark_home()
    environment = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": host, "SPARK_DAEMON_MEMORY": "256m"}
    with (folder / f"{name}.log").open("wb") as log:
        # A group of its own: Ctrl-C reaches us, and we end them in order.
        return subprocess.Popen(
            [str(home / "bin" / "spark-class"), what, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _spark_home() -> Path:
    import pyspark

    home = Path(pyspark.__file__).parent
    if not (home / "bin" / "spark-class").is_file():
        raise NotThereError("the installed pyspark has no Spark: install the extra, pip install 'huaxiang[spark]'")
    return home


def _free(port: int) -> int:
    with socket.socket() as probe:
        # As the master will: a port that an ended cluster had is free though its connections linger.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as e:
            raise NotThereError(
                f"port {port} of {HOST} is taken ({e}); another: make cluster ARGS='--port 0'"
            ) from None
        return int(probe.getsockname()[1])


def _wait(cluster: SparkCluster, workers: int) -> None:
    until = time.monotonic() + STARTS_WITHIN
    parts = {"master": cluster.master} | {f"worker-{n + 1}": w for n, w in enumerate(cluster.workers)}
    while cluster.alive() < workers:
        ended = [name for name, process in parts.items() if process.poll() is not None]
        if ended or time.monotonic() > until:
            name = ended[0] if ended else "master"
            tail = "\n".join((cluster.folder / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
            raise HuaxiangError(f"the Spark cluster did not come up; the log of {name} ends:\n{tail}")
        time.sleep(0.2)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(psutil.NoSuchProcess):
        for child in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
            with suppress(psutil.NoSuchProcess):
                child.kill()
    process.wait()


def main() -> int:
    """Keeps a cluster until Ctrl-C (0) or until its master ends (1)."""
    parser = argparse.ArgumentParser(prog="python -m lake.spark_cluster", description=__doc__)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each worker (default: 1)")
    parser.add_argument("--memory-mib", type=int, default=1024, help="of each worker's executors (default: 1024)")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the master (default: {PORT}; 0: any free one)")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sizes = {"workers": asked.workers, "cores": asked.cores, "memory_mib": asked.memory_mib}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="huaxiang-cluster-") as folder,
            spark_cluster(Path(folder), **sizes, port=asked.port) as cluster,
        ):
            _say(cluster, asked)
            return _watch(cluster)
    except KeyboardInterrupt:
        print("ended", file=sys.stderr)
        return 0
    except HuaxiangError as e:
        print(f"huaxiang: {e}", file=sys.stderr)
        return e.exit_code


def _say(cluster: SparkCluster, asked: argparse.Namespace) -> None:
    print(
        f"{cluster.address}: {asked.workers} workers, each {asked.cores} cores and {asked.memory_mib} MiB\n"
        f"page: http://{HOST}:{cluster.page_port}\n"
        f"logs: {cluster.folder}\n"
        f"to run there, in huaxiang.yaml:\n"
        f"    engine: spark\n"
        f"    spark: {cluster.address}\n"
        f"Ctrl-C ends it",
        flush=True,
    )


def _watch(cluster: SparkCluster) -> int:
    ended: set[int] = set()
    while cluster.master.poll() is None:
        for n, worker in enumerate(cluster.workers):
            if worker.poll() is not None and n not in ended:
                ended.add(n)
                print(f"worker {n + 1} has ended ({worker.returncode})", file=sys.stderr)
        time.sleep(1)
    print(f"the master has ended ({cluster.master.returncode})", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
