"""Ctrl-C in the middle of a query, and kill -9 in the middle of a task."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

ENDLESS = """
from lake.engine import open_engine
with open_engine("embedded", cores=1, memory_gb=1) as engine:
    engine.spark.range(1).collect()
    print("ready", flush=True)
    engine.spark.range(10**15).selectExpr("sum(id % 7)").collect()
"""


@pytest.mark.slow
def test_it_ends_the_process_at_once_though_the_signal_ends_the_server_too() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    time.sleep(1)
    os.kill(running.pid, signal.SIGINT)
    try:
        _, said = running.communicate(timeout=30)
    finally:
        running.kill()
    assert said.strip().endswith("KeyboardInterrupt")


NAPPING = """
from lake.engine import open_engine
with open_engine("embedded", cores=2, memory_gb=1) as engine:
    engine.map("tests.lake.test_ended_from_outside:nap", [{"n": n} for n in range(2)])
"""


def nap(item: dict[str, Any]) -> dict[str, Any]:
    # In one write: two processes say it into one pipe.
    os.write(1, b"napping\n")
    time.sleep(300)
    return item


def test_the_processes_of_one_that_is_killed_end_too() -> None:
    running = subprocess.Popen([sys.executable, "-c", NAPPING], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for _ in range(2):
        assert running.stdout.readline() == "napping\n"
    workers = [p for p in psutil.Process(running.pid).children(recursive=True) if p.is_running()]
    assert len(workers) >= 2
    running.kill()
    running.wait()
    assert not psutil.wait_procs(workers, timeout=10)[1]
