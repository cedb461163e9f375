"""One budget for the whole process tree (``memory_gb``): half for the engine's frames, half for the DuckDB of its workers.

Each worker may hold its part of the second half before it spills; the main process, in which DuckDB and frames take turns,
what frames may. What is over a limit goes to disk, into a folder that only its owner reads. Rows that are arrays in a task
are held beside DuckDB's: buckets bound them.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb

FOR_FRAMES = 0.5
LEAST_BYTES = 256 << 20
"""Below that, DuckDB ends queries that it could finish with a little more."""


@dataclass(frozen=True)
class Share:
    """Bytes that DuckDB may hold in one process, and the folder below which it spills."""

    memory_bytes: int
    spills: str


_taken: list[Share] = []
"""Shares of this process; the last counts."""


def for_frames(memory_bytes: int) -> int:
    """Bytes of a budget that the engine's pool may hold."""
    return int(memory_bytes * FOR_FRAMES)


def of_a_worker(memory_bytes: int, cores: int, spills: Path) -> Share:
    """What each of as many workers as there are cores may hold."""
    return Share(max(LEAST_BYTES, (memory_bytes - for_frames(memory_bytes)) // cores), str(spills))


def of_the_main_process(memory_bytes: int, spills: Path) -> Share:
    return Share(max(LEAST_BYTES, for_frames(memory_bytes)), str(spills))


def take(share: Share | None) -> None:
    """Keep within a share in this process from now on."""
    if share is not None and share not in _taken:
        _taken.append(share)


def give_back(share: Share | None) -> None:
    """The share, and the folder of its spills, are no longer there."""
    _taken[:] = [s for s in _taken if s != share]


def in_memory(threads: int | None = None, most_bytes: int | None = None, **settings: Any) -> duckdb.DuckDBPyConnection:
    """A DuckDB without a file, within this process's share and ``most_bytes``; without either DuckDB's own limit holds."""
    import duckdb

    share = _taken[-1] if _taken else None
    below = _own_folder(os.getpid()) if share is None else share.spills
    config: dict[str, Any] = {"temp_directory": str(Path(below) / f"duckdb-{uuid.uuid4().hex[:12]}"), **settings}
    if threads is not None:
        config["threads"] = threads
    limits = [b for b in (most_bytes, None if share is None else share.memory_bytes) if b is not None]
    if limits:
        config["memory_limit"] = f"{min(limits)}B"
    return duckdb.connect(config=config)


@cache
def _own_folder(process: int) -> str:
    """Of a process that was given no share; it goes with the process, of a pool as well."""
    folder = tempfile.TemporaryDirectory(prefix="huaxiang-")
    Finalize(None, folder.cleanup, exitpriority=0)
    return folder.name
