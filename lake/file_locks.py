"""Names held on a folder: files locked by the operating system, which frees them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from lake.store import HeldByAnotherError, Holding, Lease

LOOKS, INSTANT = 5, 0.02
"""How often, and seconds apart, a lock without a note is tried again: who only looks whether it is held holds it so long."""


class FileLease(Lease):
    """An open, locked file."""

    def __init__(self, file: IO[str], path: Path):
        self._file, self._path = file, path

    def is_ours(self) -> bool:
        return not self._file.closed and _is_there(self._file, self._path)

    def release(self) -> None:
        # Removed while it is held: whoever waited for it looks whether the name still means the file it locked.
        self._path.unlink(missing_ok=True)
        self._file.close()


def note_of_this_process() -> str:
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": since})


def holding_of(name: str, note: str, own: bool = False) -> Holding:
    """What a note says; a holder that has not yet written its note is somebody all the same."""
    try:
        noted = json.loads(note)
        since = datetime.fromisoformat(noted["since"]).isoformat(timespec="seconds") if "since" in noted else None
        return Holding(name, int(noted["process"]), noted.get("host"), since, own)
    except (ValueError, KeyError, TypeError):
        return Holding(name, own=own)


def hold_file(path: Path, name: str) -> FileLease:
    """Lock a file and write into it who holds it; HeldByAnotherError where somebody does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    looks = 0
    while True:
        f = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            f.seek(0)
            held = holding_of(name, f.read())
            f.close()
            if held.process is None and (looks := looks + 1) < LOOKS:
                time.sleep(INSTANT)
                continue
            raise HeldByAnotherError(held) from None
        # Its last holder may have removed it between our opening and our lock.
        if _is_there(f, path):
            break
        f.close()
    f.truncate(0)
    f.write(note_of_this_process())
    f.flush()
    return FileLease(f, path)


def held_files(folder: Path) -> list[Holding]:
    """Names of a folder of locks that are held now."""
    found = []
    for path in sorted(folder.glob("*.lock")):
        name = path.name.removesuffix(".lock")
        try:
            with path.open("r", encoding="utf-8") as f:
                try:
                    fcntl.flock(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    f.seek(0)
                    held = holding_of(name, f.read())
                    found.append(Holding(name, held.process, held.host, held.since, held.process == os.getpid()))
        except FileNotFoundError:
            continue
    return found


def _is_there(f: IO[str], path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(f.fileno()), path.stat())
    except FileNotFoundError:
        return False
