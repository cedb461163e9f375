"""The benchmark's own small form: every contestant runs, and all give equal values.

Whatever is rare in a million users is made frequent by the workload, so that this finds in seconds what a race would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_all_contestants_give_equal_values(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    arguments = ["--small", "--users", "3000", "--folder", str(tmp_path / "shop"), "--json", str(figures)]
    command = [sys.executable, "-m", "benchmarks.profile", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(figures.read_text())
    assert found["differences"] == []
    assert {"huaxiang, month files", "DuckDB", "Polars"} < set(found["runs"])
