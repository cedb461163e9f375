"""Ctrl-C in the middle of a query."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

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
