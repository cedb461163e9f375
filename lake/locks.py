"""One writer a table. The kernel of the operating system frees a lock when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from lake.lake import Lake
from schemas.errors import LockedError


@contextmanager
def lock(lake: Lake, *tables: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the locks of ``tables`` (taken in one order, so that two holders cannot wait for each other).

    LockedError names the holder. A lock belongs to the open file: a killed process leaves none behind.
    """
    with ExitStack() as held:
        for table in sorted(set(tables)):
            held.enter_context(_hold(lake.root / "_locks" / f"{table}.lock", table, wait_seconds))
        yield


@contextmanager
def _hold(path: Path, table: str, wait_seconds: float) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + wait_seconds
    with path.open("a+", encoding="utf-8") as f:
        while True:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    f.seek(0)
                    raise LockedError(_in_words(table, f.read())) from None
                time.sleep(0.2)
        f.truncate(0)
        f.write(json.dumps({"process": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}))
        f.flush()
        try:
            yield
        finally:
            f.truncate(0)
            fcntl.flock(f, fcntl.LOCK_UN)


def _in_words(table: str, note: str) -> str:
    """Who holds a lock, since when, and what to do; a holder that has not yet written its note is another process."""
    try:
        noted = json.loads(note)
        process = int(noted["process"])
        when = f" since {datetime.fromisoformat(noted['since']):%Y-%m-%d %H:%M:%S} UTC" if "since" in noted else ""
    except (ValueError, KeyError, TypeError):
        return f"{table} is held by another process; wait until it is done, or stop it, and run again"
    return f"{table} is held by process {process}{when}; wait until it is done, or stop it (`kill {process}`), and run again"
