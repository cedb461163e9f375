"""Tasks that say when and where they ran, for tests of ``map``: side by side, retried, ended."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from schemas.errors import ConfigurationError


def nap(item: dict[str, Any]) -> dict[str, Any]:
    """Sleeps for ``seconds``; gives ``n``, when it ran (seconds of this machine's clock) and in which Spark task."""
    from pyspark import TaskContext

    began = time.time()
    time.sleep(item["seconds"])
    context = TaskContext.get()
    assert context is not None
    return {"n": item["n"], "began": began, "ended": time.time(), "task": context.partitionId()}


def leave_a_mark(item: dict[str, Any]) -> dict[str, Any]:
    """Makes a file named ``n`` and the attempt in ``folder`` when it begins; then naps, and fails where ``fails``."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    mark = Path(item["folder"], f"{item['n']}-{context.taskAttemptId()}")
    mark.write_text(str(os.getppid()), encoding="ascii")
    if item.get("fails"):
        raise ConfigurationError(f"item {item['n']} cannot be done")
    time.sleep(item["seconds"])
    return {"n": item["n"], "mark": mark.name}


def slow_at_first(item: dict[str, Any]) -> dict[str, Any]:
    """Marks its attempt in ``folder``; the first attempt at an item with ``stalls`` naps that long, a second one not."""
    from pyspark import TaskContext

    context = TaskContext.get()
    assert context is not None
    folder = Path(item["folder"])
    first = not list(folder.glob(f"{item['n']}-*"))
    mark = folder / f"{item['n']}-{context.taskAttemptId()}"
    mark.touch()
    time.sleep(item["stalls"] if first else 0.2)
    return {"n": item["n"], "mark": mark.name}
