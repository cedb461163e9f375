"""Files on their way in: their checksums, and the copy that landing keeps.

A file is known by its checksum, per mapping. Landing is written once per content and never changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from features.sources import Mapping
from lake.disk import told_when_full
from lake.lake import Lake
from lake.manifest import ManifestRow
from project.inbox import Inbox, Waiting
from schemas.errors import InputError

SEEN = "landing/_seen.json"


@dataclass(frozen=True)
class Arrival:
    """One file of the inbox for one mapping: its name below the inbox, content, and landing copy (below the lake)."""

    source: str
    feed: str
    name: str
    checksum: str
    bytes: int
    landing: str


def land(lake: Lake, inbox: Inbox, found: Sequence[tuple[Mapping, Waiting]]) -> list[Arrival | InputError]:
    """Checksum and landing copy of every file, made in one pass over its bytes, in the order given.

    A file whose size, time and inode are as they were when it was last read is not read again. InputError stands for a
    file that cannot be read or changes meanwhile. DiskFullError where landing has no room for the copies.
    """
    seen = _Seen(lake)
    with told_when_full(lake, lambda: "new files are not taken yet"):
        with ThreadPoolExecutor(max_workers=min(4, (os.cpu_count() or 1))) as pool:
            landed = list(pool.map(lambda pair: _land_one(lake, inbox, pair[0], pair[1].name, seen), found))
        seen.save()
    return landed


def _land_one(lake: Lake, inbox: Inbox, mapping: Mapping, name: str, seen: _Seen) -> Arrival | InputError:
    """InputError says what is wrong with the file. What landing itself cannot take, its disk being full, is raised."""
    folder, last = lake.store.path(f"landing/{mapping.feed}"), PurePosixPath(name).name
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        with _readable(name):
            before = inbox.marked(name)
        checksum = seen.checksum(inbox, before)
        if checksum is not None and lake.store.is_there(lake.store.name(folder / landing_name(checksum, last))):
            return _arrival(lake, mapping, name, checksum, before.bytes, folder / landing_name(checksum, last))
        folder.mkdir(parents=True, exist_ok=True)
        checksum = copy_with_checksum(inbox, name, part)
        with _readable(name):
            after = inbox.marked(name)
        if after.marks[:2] != before.marks[:2]:
            return InputError(f"{name}: is still being written; it is left for the next run")
        target = folder / landing_name(checksum, last)
        part.replace(target)
        lake.store.share([str(target)])
        seen.note(inbox, after, checksum)
        return _arrival(lake, mapping, name, checksum, after.bytes, target)
    except InputError as e:
        return e
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise InputError(f"{name}: cannot be read ({e.strerror})") from e


def _arrival(lake: Lake, mapping: Mapping, name: str, checksum: str, size: int, target: Path) -> Arrival:
    return Arrival(mapping.name, mapping.feed, name, checksum, size, lake.store.name(target))


def landing_name(checksum: str, name: str) -> str:
    """What landing calls a file: content first, so that two files of one name never meet."""
    return f"{checksum[:16]}-{name[-150:]}"


def content_of(landed: Path) -> str:
    """What tells the content of a file in landing from any other's."""
    return landed.name[:16]


def copy_with_checksum(inbox: Inbox, name: str, target: Path) -> str:
    """InputError where the file cannot be read; OSError where the target cannot be written."""
    digest = hashlib.sha256()
    with target.open("wb") as dst:
        for chunk in _chunks(inbox, name):
            digest.update(chunk)
            dst.write(chunk)
    return digest.hexdigest()


def _chunks(inbox: Inbox, name: str) -> Iterator[bytes]:
    with _readable(name):
        yield from inbox.chunks(name)


class _Seen:
    """Checksums of inbox files by address and marks, so that a large inbox is not read on every run."""

    def __init__(self, lake: Lake):
        self.store = lake.store
        text = self.store.read(SEEN)
        self.noted: dict[str, list[Any]] = {} if text is None else json.loads(text)
        self.changed = False

    def checksum(self, inbox: Inbox, file: Waiting) -> str | None:
        noted = self.noted.get(f"{inbox.address}/{file.name}")
        return noted[-1] if noted and noted[:-1] == list(file.marks) else None

    def note(self, inbox: Inbox, file: Waiting, checksum: str) -> None:
        self.noted[f"{inbox.address}/{file.name}"] = [*file.marks, checksum]
        self.changed = True

    def save(self) -> None:
        if self.changed:
            self.store.replace(SEEN, json.dumps(self.noted, ensure_ascii=False).encode())


def clear_parts(lake: Lake, feeds: Iterable[str]) -> None:
    """Remove what a killed run copied in part; the caller holds the locks of the feeds."""
    for feed in feeds:
        lake.store.drop_parts(f"landing/{feed}")


def drop_landing(lake: Lake, paths: Iterable[str], rows: Iterable[ManifestRow]) -> None:
    """Remove landing copies of files that were not taken: landing holds what the manifest names."""
    kept = {r.path for r in rows}
    lake.store.delete(sorted(set(paths) - kept))
