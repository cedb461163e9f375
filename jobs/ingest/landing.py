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
from pathlib import Path
from typing import Any

from features.sources import Mapping
from lake.disk import told_when_full
from lake.lake import Lake
from lake.manifest import ManifestRow
from schemas.errors import InputError

CHUNK = 1 << 20


@dataclass(frozen=True)
class Arrival:
    """One file of the inbox for one mapping: its name below the inbox, content, and landing copy (below the lake)."""

    source: str
    feed: str
    name: str
    checksum: str
    bytes: int
    landing: str


def land(lake: Lake, inbox: Path, found: Sequence[tuple[Mapping, Path]]) -> list[Arrival | InputError]:
    """Checksum and landing copy of every file, made in one pass over its bytes, in the order given.

    A file whose size, time and inode are as they were when it was last read is not read again. InputError stands for a
    file that cannot be read or changes meanwhile. DiskFullError where landing has no room for the copies.
    """
    seen = _Seen(lake)
    with told_when_full(lake, lambda: "new files are not taken yet"):
        with ThreadPoolExecutor(max_workers=min(4, (os.cpu_count() or 1))) as pool:
            landed = list(pool.map(lambda pair: _land_one(lake, inbox, pair[0], pair[1], seen), found))
        seen.save()
    return landed


def _land_one(lake: Lake, inbox: Path, mapping: Mapping, path: Path, seen: _Seen) -> Arrival | InputError:
    """InputError says what is wrong with the file. What landing itself cannot take, its disk being full, is raised."""
    name = path.relative_to(inbox).as_posix()
    folder = lake.root / "landing" / mapping.feed
    part = folder / f".{uuid.uuid4().hex}.part"
    try:
        with _readable(name):
            before = path.stat()
        checksum = seen.checksum(path, before)
        if checksum is not None and (folder / landing_name(checksum, path.name)).exists():
            return _arrival(lake, mapping, name, checksum, before.st_size, folder / landing_name(checksum, path.name))
        folder.mkdir(parents=True, exist_ok=True)
        checksum = copy_with_checksum(path, part, name)
        with _readable(name):
            after = path.stat()
        if after.st_size != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
            return InputError(f"{name}: is still being written; it is left for the next run")
        target = folder / landing_name(checksum, path.name)
        part.replace(target)
        seen.note(path, after, checksum)
        return _arrival(lake, mapping, name, checksum, after.st_size, target)
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
    return Arrival(mapping.name, mapping.feed, name, checksum, size, str(target.relative_to(lake.root)))


def landing_name(checksum: str, name: str) -> str:
    """What landing calls a file: content first, so that two files of one name never meet."""
    return f"{checksum[:16]}-{name[-150:]}"


def content_of(landed: Path) -> str:
    """What tells the content of a file in landing from any other's."""
    return landed.name[:16]


def copy_with_checksum(source: Path, target: Path, name: str) -> str:
    """InputError where the source, called ``name``, cannot be read; OSError where the target cannot be written."""
    digest = hashlib.sha256()
    with target.open("wb") as dst:
        for chunk in _chunks(source, name):
            digest.update(chunk)
            dst.write(chunk)
    return digest.hexdigest()


def _chunks(source: Path, name: str) -> Iterator[bytes]:
    with _readable(name), source.open("rb") as src:
        while chunk := src.read(CHUNK):
            yield chunk


class _Seen:
    """Checksums of inbox files by path, size, time and inode, so that a large inbox is not read on every run."""

    def __init__(self, lake: Lake):
        self.path = lake.root / "landing" / "_seen.json"
        self.noted: dict[str, list[Any]] = {}
        if self.path.exists():
            self.noted = json.loads(self.path.read_text(encoding="utf-8"))
        self.changed = False

    def checksum(self, path: Path, stat: os.stat_result) -> str | None:
        noted = self.noted.get(str(path))
        return noted[-1] if noted and noted[:-1] == self._marks(stat) else None

    def note(self, path: Path, stat: os.stat_result, checksum: str) -> None:
        self.noted[str(path)] = [*self._marks(stat), checksum]
        self.changed = True

    def _marks(self, stat: os.stat_result) -> list[int]:
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_ctime_ns]

    def save(self) -> None:
        if self.changed:
            part = self.path.with_name(f".{uuid.uuid4().hex}.part")
            try:
                part.write_text(json.dumps(self.noted, ensure_ascii=False), encoding="utf-8")
                part.replace(self.path)
            finally:
                part.unlink(missing_ok=True)


def clear_parts(lake: Lake, feeds: Iterable[str]) -> None:
    """Remove what a killed run copied in part; the caller holds the locks of the feeds."""
    for feed in feeds:
        for part in (lake.root / "landing" / feed).glob(".*.part"):
            part.unlink(missing_ok=True)


def drop_landing(lake: Lake, paths: Iterable[str], rows: Iterable[ManifestRow]) -> None:
    """Remove landing copies of files that were not taken: landing holds what the manifest names."""
    kept = {r.path for r in rows}
    for path in set(paths) - kept:
        (lake.root / path).unlink(missing_ok=True)
