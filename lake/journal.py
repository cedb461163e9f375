"""What a run has staged, so that what a killed or failed run left behind is removed.

Every run keeps one file under ``LAKE/ops/journal`` and holds it locked while it lives. A journal that nobody holds
belongs to a dead run: its staged folders that no table refers to are deleted.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol


class Published(Protocol):
    """A file that a table refers to."""

    @property
    def path(self) -> str: ...


class Journalled(Protocol):
    """What a journal needs of a lake."""

    @property
    def root(self) -> Path: ...

    def files(self, table: str, /) -> Sequence[Published]: ...


_held: dict[Path, IO[str]] = {}


def journal_path(lake: Journalled, run_id: str) -> Path:
    return lake.root / "ops" / "journal" / f"{run_id}.jsonl"


def scratch(lake: Journalled, run_id: str) -> Path:
    """The run's folder for files that no table will hold; deleted when the run finishes or is recovered."""
    folder = lake.root / "ops" / "scratch" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    note(lake, run_id, {"scratch": str(folder.relative_to(lake.root))})
    return folder


def note(lake: Journalled, run_id: str, line: dict[str, Any]) -> None:
    """Append one line to the run's journal; the first call takes the journal for this process."""
    path = journal_path(lake, run_id)
    if path not in _held:
        _held[path] = _taken(path)
    _held[path].write(json.dumps(line) + "\n")
    _held[path].flush()


def _taken(path: Path) -> IO[str]:
    """A new journal, locked. Between the opening and the lock ``recover`` may take it for a dead run's: then another."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        f = path.open("a", encoding="utf-8")
        fcntl.flock(f, fcntl.LOCK_EX)
        if _is_there(f, path):
            return f
        f.close()


def _is_there(f: IO[str], path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(f.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def kept(lake: Journalled, run_id: str) -> Iterator[None]:
    """The run's journal for a block: finished after it. If the block fails, what it staged and did not publish goes, too."""
    try:
        yield
    except BaseException:
        _remove_leftovers(lake, _lines(journal_path(lake, run_id)))
        finish(lake, run_id)
        raise
    finish(lake, run_id)


def finish(lake: Journalled, run_id: str) -> None:
    """The run is done: its scratch folder, staging folders that nothing was put into, and its journal are removed."""
    path = journal_path(lake, run_id)
    shutil.rmtree(lake.root / "ops" / "scratch" / run_id, ignore_errors=True)
    for folder in (lake.root / line["folder"] for line in _lines(path) if "table" in line):
        if not any(p.is_file() for p in folder.rglob("*")):
            shutil.rmtree(folder, ignore_errors=True)
    # Removed while it is held: one that lies there unheld is a dead run's.
    path.unlink(missing_ok=True)
    if (f := _held.pop(path, None)) is not None:
        f.close()


def recover(lake: Journalled) -> list[str]:
    """Clean up after dead runs and return their ids; live runs are left alone."""
    recovered = []
    for path in sorted((lake.root / "ops" / "journal").glob("*.jsonl")):
        if path in _held:
            continue
        try:
            with path.open("r+", encoding="utf-8") as f:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not _is_there(f, path):
                    continue
                _remove_leftovers(lake, _lines(path))
                path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue
        recovered.append(path.stem)
    return recovered


def _lines(path: Path) -> list[dict[str, Any]]:
    """What a journal notes; a line that a killed run left unfinished is none."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.endswith("\n")]


def _remove_leftovers(lake: Journalled, lines: list[dict[str, Any]]) -> None:
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
