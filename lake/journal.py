"""What a run has staged, so that what a killed run left behind is found and removed.

Every run keeps one file under ``LAKE/ops/journal`` and holds it locked while it lives. A journal that nobody holds and
that does not say ``finished`` belongs to a dead run: its staged folders that no table refers to are deleted.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lake.lake import Lake

_held: dict[Path, IO[str]] = {}


def journal_path(lake: Lake, run_id: str) -> Path:
    return lake.root / "ops" / "journal" / f"{run_id}.jsonl"


def scratch(lake: Lake, run_id: str) -> Path:
    """The run's folder for files that no table will hold; deleted when the run finishes or is recovered."""
    folder = lake.root / "ops" / "scratch" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    note(lake, run_id, {"scratch": str(folder.relative_to(lake.root))})
    return folder


def note(lake: Lake, run_id: str, line: dict[str, Any]) -> None:
    """Append one line to the run's journal; the first call takes the journal for this process."""
    path = journal_path(lake, run_id)
    if path not in _held:
        path.parent.mkdir(parents=True, exist_ok=True)
        f = path.open("a", encoding="utf-8")
        fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held[path] = f
    _held[path].write(json.dumps(line) + "\n")
    _held[path].flush()


def finish(lake: Lake, run_id: str) -> None:
    """The run is done: its scratch folder and its journal are removed."""
    path = journal_path(lake, run_id)
    shutil.rmtree(lake.root / "ops" / "scratch" / run_id, ignore_errors=True)
    if (f := _held.pop(path, None)) is not None:
        f.close()
    path.unlink(missing_ok=True)


def recover(lake: Lake) -> list[str]:
    """Clean up after dead runs and return their ids; live runs are left alone."""
    recovered = []
    for path in sorted((lake.root / "ops" / "journal").glob("*.jsonl")):
        if path in _held:
            continue
        try:
            with path.open("r+", encoding="utf-8") as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lines = [json.loads(line) for line in f if line.endswith("\n")]
                _remove_leftovers(lake, lines)
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
        recovered.append(path.stem)
    return recovered


def _remove_leftovers(lake: Lake, lines: list[dict[str, Any]]) -> None:
    for line in lines:
        if "scratch" in line:
            shutil.rmtree(lake.root / line["scratch"], ignore_errors=True)
        if "table" not in line:
            continue
        folder = lake.root / line["folder"]
        # Published files of a dead run are in the newest version: nobody else could write the table before now.
        prefix = str(folder) + "/"
        if not any(f.path.startswith(prefix) for f in lake.files(line["table"])):
            shutil.rmtree(folder, ignore_errors=True)
