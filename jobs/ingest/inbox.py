"""Files on their way in: what lies in the inbox, what was taken before, and the copy that landing keeps.

A file is known by its checksum, per mapping. Landing is written once per content and never changed; the manifest
(``landing.manifest``) says what was taken from where, with the rows that came of it.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from features.sources import Mapping
from lake.lake import Lake
from lake.locks import lock
from lake.publish import publish
from schemas.arrow import arrow_schema
from schemas.contracts import contract
from schemas.errors import InputError
from schemas.quarantine import literal

MANIFEST = "landing.manifest"
CHUNK = 1 << 20
MANY_FILES = 32
"""Manifest files beyond which the next publication writes them together."""
UNFINISHED = (".*", "*.part", "*.tmp", "*.crdownload", "*.filepart", "_*", "*~")
"""Names of files that are still being written, or are no deliveries at all."""


@dataclass(frozen=True)
class Delivery:
    """One file of the inbox for one mapping: its name below the inbox, content, and landing copy (below the lake)."""

    source: str
    feed: str
    name: str
    checksum: str
    bytes: int
    landing: str


def matches(inbox: Path, mappings: Iterable[Mapping]) -> list[tuple[Mapping, Path]]:
    """Every file of the inbox that a mapping names, in order of mapping and name."""
    found = []
    for mapping in mappings:
        for path in sorted(inbox.glob(mapping.files)):
            if path.is_file() and not is_unfinished(path):
                found.append((mapping, path))
    return found


def unmatched(inbox: Path, mappings: Sequence[Mapping]) -> list[str]:
    """Files of the inbox that no mapping names: a new kind of file, or a mapping whose pattern is wrong."""
    named = {path for _, path in matches(inbox, mappings)}
    every = (p for p in inbox.rglob("*") if p.is_file() and not is_unfinished(p))
    return sorted(str(p.relative_to(inbox)) for p in every if p not in named)


def without_files(
    mappings: Sequence[Mapping], found: Sequence[tuple[Mapping, Path]], rows: Sequence[ManifestRow]
) -> list[str]:
    """What to say of mappings that no file was ever for: their pattern is wrong, or the feed is still to come."""
    seen = {m.name for m, _ in found} | {r.source for r in rows}
    return [
        f"sources/{m.name}.yaml ({m.feed}) names {m.files}: the inbox has no such file, and none was taken before"
        for m in mappings
        if m.name not in seen
    ]


def is_unfinished(path: Path) -> bool:
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in UNFINISHED)


def land(lake: Lake, inbox: Path, found: Sequence[tuple[Mapping, Path]]) -> list[Delivery | InputError]:
    """Checksum and landing copy of every file, made in one pass over its bytes, in the order given.

    A file whose size, time and inode are as they were when it was last read is not read again. InputError stands for a
    file that cannot be read or changes meanwhile.
    """
    seen = _Seen(lake)
    with ThreadPoolExecutor(max_workers=min(4, (os.cpu_count() or 1))) as pool:
        landed = list(pool.map(lambda pair: _land_one(lake, inbox, pair[0], pair[1], seen), found))
    seen.save()
    return landed


def _land_one(lake: Lake, inbox: Path, mapping: Mapping, path: Path, seen: _Seen) -> Delivery | InputError:
    name = path.relative_to(inbox).as_posix()
    try:
        before = path.stat()
        checksum = seen.checksum(path, before)
        folder = lake.root / "landing" / mapping.feed
        if checksum is not None and (folder / landing_name(checksum, path.name)).exists():
            return _delivery(lake, mapping, name, checksum, before.st_size, folder / landing_name(checksum, path.name))
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{uuid.uuid4().hex}.part"
        checksum = copy_with_checksum(path, part)
        if (after := path.stat()).st_size != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
            part.unlink()
            return InputError(f"{name}: is still being written; it is left for the next run")
        target = folder / landing_name(checksum, path.name)
        part.replace(target)
        seen.note(path, after, checksum)
        return _delivery(lake, mapping, name, checksum, after.st_size, target)
    except OSError as e:
        return InputError(f"{name}: cannot be read ({e.strerror})")


def _delivery(lake: Lake, mapping: Mapping, name: str, checksum: str, size: int, target: Path) -> Delivery:
    return Delivery(mapping.name, mapping.feed, name, checksum, size, str(target.relative_to(lake.root)))


def landing_name(checksum: str, name: str) -> str:
    """What landing calls a file: content first, so that two files of one name never meet."""
    return f"{checksum[:16]}-{name[-150:]}"


def content_of(landed: Path) -> str:
    """What tells the content of a file in landing from any other's."""
    return landed.name[:16]


def copy_with_checksum(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as src, target.open("wb") as dst:
        while chunk := src.read(CHUNK):
            digest.update(chunk)
            dst.write(chunk)
    return digest.hexdigest()


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
            part.write_text(json.dumps(self.noted, ensure_ascii=False), encoding="utf-8")
            part.replace(self.path)


def drop_landing(lake: Lake, paths: Iterable[str], rows: Iterable[ManifestRow]) -> None:
    """Remove landing copies of files that were not taken: landing holds what the manifest names."""
    kept = {r.path for r in rows}
    for path in set(paths) - kept:
        (lake.root / path).unlink(missing_ok=True)


# --- manifest ---


@dataclass
class ManifestRow:
    """One file as one batch took it, the conservation rule holds for every row; or one that was refused, and why."""

    feed: str
    source: str
    file: str
    path: str
    checksum: str
    bytes: int
    columns: str
    rows_read: int
    rows_not_selected: int
    rows_silver: int
    rows_duplicate: int
    rows_quarantined: int
    rows_late: int
    dst_moved: int
    late_days_p95: float | None
    late_days_max: int | None
    event_first_us: int | None
    event_last_us: int | None
    state: str
    batch_id: str
    ingested_us: int
    message: str | None = None

    @property
    def lost(self) -> int:
        """Rows that are neither in silver nor accounted for: 0, or nothing is published."""
        kept = self.rows_not_selected + self.rows_silver + self.rows_duplicate + self.rows_quarantined
        return self.rows_read - kept


_RENAMED = {"file": "_file", "batch_id": "_batch_id"}
_STAMPS = {"event_first_us": "event_first_at", "event_last_us": "event_last_at", "ingested_us": "_ingested_at"}


def manifest(lake: Lake, feeds: Iterable[str] | None = None) -> list[ManifestRow]:
    """Every row of the manifest, of some feeds if given, in order of ingest."""
    if not lake.files(MANIFEST):
        return []
    there = lake.schema(MANIFEST).names
    chosen = ", ".join(_selected(n, there) for n in ManifestRow.__dataclass_fields__)
    where = "true" if feeds is None else f"list_contains([{', '.join(literal(f) for f in feeds)}]::varchar[], feed)"
    with duckdb.connect(config={"threads": 1}) as con:
        con.register("manifest", lake.dataset(MANIFEST))
        found = con.sql(
            f"select {chosen} from manifest where {where} order by ingested_us, source, file, batch_id"
        ).to_arrow_table()
    return [ManifestRow(**row) for row in found.to_pylist()]


def _selected(name: str, there: Sequence[str]) -> str:
    """A column of the manifest under its short name; absent in a lake that was made before there was such a column."""
    column = _STAMPS.get(name) or _RENAMED.get(name, name)
    if column not in there:
        return f'null as "{name}"'
    return f'epoch_us("{column}") as "{name}"' if name in _STAMPS else f'"{column}" as "{name}"'


def publish_manifest(
    lake: Lake,
    new: Sequence[ManifestRow],
    changed: Sequence[ManifestRow],
    run_id: str,
    key: str,
    gone: Sequence[ManifestRow] = (),
) -> int:
    """Add rows; ``changed`` take the place of rows of the same source, checksum and batch, and ``gone`` are left out."""
    with lock(lake, MANIFEST, wait_seconds=60):
        lake.ensure(MANIFEST)
        delta = lake.delta(MANIFEST)
        assert delta is not None
        if delta.transaction_version(key) is not None:
            return delta.version()
        rows = list(new)
        whole = bool(changed or gone) or len(lake.files(MANIFEST)) >= MANY_FILES
        if whole:
            instead = {(r.source, r.checksum, r.batch_id): r for r in changed}
            out = {(r.source, r.checksum, r.batch_id) for r in gone}
            there = [r for r in manifest(lake) if (r.source, r.checksum, r.batch_id) not in out]
            rows = [instead.get((r.source, r.checksum, r.batch_id), r) for r in there] + rows
        folder = lake.stage(MANIFEST, run_id)
        pq.write_table(_manifest_table(rows), folder / "manifest.parquet")
        return publish(
            lake,
            MANIFEST,
            folder,
            replace="all" if whole else None,
            read_version=delta.version(),
            run_id=run_id,
            key=key,
            metadata={},
        )


def _manifest_table(rows: Sequence[ManifestRow]) -> pa.Table:
    schema = arrow_schema(contract(MANIFEST))
    columns: dict[str, list[Any]] = {f.name: [] for f in schema}
    for row in rows:
        for name, value in asdict(row).items():
            columns[_STAMPS.get(name) or _RENAMED.get(name, name)].append(value)
    return pa.table(
        [
            pa.array(columns[f.name], pa.int64()).cast(f.type)
            if pa.types.is_timestamp(f.type)
            else pa.array(columns[f.name], f.type)
            for f in schema
        ],
        schema=schema,
    )
