"""A real Airflow of a test's own: SQLite, LocalExecutor, its three processes, and the REST calls that tests need."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FINAL = {"success", "failed"}


class Airflow:
    """Start with ``with``; ``trigger`` a DAG for a day, ``wait`` for what came of it."""

    def __init__(self, home: Path, environment: Mapping[str, str]):
        self.home = home
        self.port = _free_port()
        self.environment = {**os.environ, **_settings(home, self.port), **environment}
        self._processes: list[subprocess.Popen[bytes]] = []
        self.token = ""

    def __enter__(self) -> Airflow:
        self.home.mkdir(parents=True, exist_ok=True)
        self._run("db", "migrate")
        for name in (
            ("api-server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"),
            ("dag-processor",),
            ("scheduler",),
        ):
            log = (self.home / f"{name[0]}.log").open("wb")
            self._processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", "airflow", *name],
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        for p in self._processes:
            os.killpg(p.pid, signal.SIGTERM)
        for p in self._processes:
            try:
                p.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(p.pid, signal.SIGKILL)

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"airflow {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One REST call; the answer as JSON."""
        request = urllib.request.Request(f"http://localhost:{self.port}{path}", method=method)
        request.add_header("Content-Type", "application/json")
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        data = None if body is None else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=30) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{method} {path}: {e.code} {e.read().decode()[:500]}") from None

    def ready(self, dags: int, seconds: float = 180) -> None:
        """Waits until the server answers and knows that many DAGs."""

        def known() -> bool:
            try:
                self.token = self.call("GET", "/auth/token")["access_token"]
                return int(self.call("GET", "/api/v2/dags")["total_entries"]) >= dags
            except (OSError, AssertionError, ValueError):
                return False

        self._until(known, seconds, f"{dags} DAGs are known")

    def trigger(self, dag: str, day: str | None) -> None:
        """A run of a DAG for a business day, or of one that has none."""
        body = {"logical_date": None, "partition_key": day}
        self.call("POST", f"/api/v2/dags/{dag}/dagRuns", body)

    def runs(self, dag: str, day: str | None) -> list[dict[str, Any]]:
        """Its runs for a day, oldest first."""
        found = self.call("GET", f"/api/v2/dags/{dag}/dagRuns?order_by=run_after&limit=100")["dag_runs"]
        return [r for r in found if r["partition_key"] == day]

    def wait(self, dag: str, day: str | None, count: int, seconds: float = 600) -> list[dict[str, Any]]:
        """Waits until ``count`` runs of a DAG for a day have ended, and gives them."""

        def ended() -> bool:
            return sum(r["state"] in FINAL for r in self.runs(dag, day)) >= count

        self._until(ended, seconds, f"{count} runs of {dag} for {day} have ended")
        return self.runs(dag, day)

    def tasks(self, dag: str, run_id: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def logs(self, lines: int = 40) -> str:
        """The ends of every log, for a message that helps."""
        ends = []
        for path in sorted(self.home.rglob("*.log")):
            text = path.read_text(encoding="utf-8", errors="replace").splitlines()
            ends.append(f"--- {path.relative_to(self.home)}\n" + "\n".join(text[-lines:]))
        return "\n".join(ends)

    def _until(self, holds: Any, seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not holds():
            dead = [p.args for p in self._processes if p.poll() is not None]
            assert not dead, f"ended by itself: {dead}\n{self.logs()}"
            assert time.monotonic() < end, f"not within {seconds:.0f} s: {what}\n{self.logs()}"
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def _settings(home: Path, port: int) -> dict[str, str]:
    """Everything that an installation would have in its airflow.cfg."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://localhost:{port}/execution/",
        "AIRFLOW__API__BASE_URL": f"http://localhost:{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": "for this test only, and long enough to be a key, which it is from here on",
        "AIRFLOW__API__SECRET_KEY": "for this test only",
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "NO_PROXY": "localhost,127.0.0.1",
        "no_proxy": "localhost,127.0.0.1",
    }
