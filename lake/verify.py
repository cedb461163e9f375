"""``huaxiang lake verify``: proves that every kept release, and what is newest, can be read.

Every version that a release names is opened; every data file is there with the bytes that the log says, its footer reads
and holds as many rows as the log says. A file that many releases name is checked once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from deltalake.exceptions import DeltaError

from lake.lake import DataFile, Lake
from lake.releases import releases
from lake.shown import Shown, unseen
from lake.store import in_one_line
from schemas.errors import HuaxiangError

SIDE_BY_SIDE = 8
"""Footers that are read at a time."""
FROM_FILES = ("bronze", "quarantine", "silver", "landing")
BOOKS = ("ops", "audiences", "campaigns", "exports")


@dataclass(frozen=True)
class Damage:
    """A file, or a version (``file`` empty), that cannot be read: ``releases`` that need it; none where it is newer than any."""

    table: str
    version: int
    file: str
    what: str
    releases: tuple[int, ...]
    remedy: str


@dataclass(frozen=True)
class Verified:
    """What was proved: releases, table versions, distinct files and their bytes; and what could not be."""

    releases: int
    versions: int
    files: int
    bytes: int
    damage: list[Damage] = field(default_factory=list)


def verify(lake: Lake, step: Shown = unseen) -> Verified:
    """Check every file of every kept release and of the newest versions once; nothing is written."""
    there = releases(lake)
    named: dict[str, dict[int, list[int]]] = {t: {v: []} for t, v in lake.versions().items()}
    days = {r.number: r.as_of.isoformat() for r in there}
    for r in there:
        for table, version in r.tables.items():
            named.setdefault(table, {}).setdefault(version, []).append(r.number)
    damage: list[Damage] = []
    files = size = 0
    with step("files") as advance:
        for n, (table, versions) in enumerate(sorted(named.items())):
            found = _of_table(lake, table, versions)
            files, size = files + found.files, size + found.bytes
            damage += found.damaged(days)
            advance(n + 1, len(named))
    return Verified(len(there), sum(map(len, named.values())), files, size, damage)


@dataclass
class _Table:
    table: str
    files: int
    bytes: int
    wrong: list[tuple[int, str, str, list[int]]]

    def damaged(self, days: dict[int, str]) -> Iterator[Damage]:
        for version, file, what, numbers in self.wrong:
            yield Damage(
                self.table, version, file, what, tuple(numbers), _remedy(self.table, [days[n] for n in numbers])
            )


def _of_table(lake: Lake, table: str, versions: dict[int, list[int]]) -> _Table:
    wrong: list[tuple[int, str, str, list[int]]] = []
    need: dict[str, tuple[int, DataFile, list[int]]] = {}
    for version, numbers in sorted(versions.items()):
        try:
            files = lake.files(table, version)
        except (DeltaError, OSError, HuaxiangError) as e:
            wrong.append((version, "", f"version {version} cannot be opened: {in_one_line(e)}", numbers))
            continue
        if lake.version(table) is None:
            wrong.append((version, "", f"version {version} is not there: the table has no log", numbers))
        for f in files:
            _, _, needed = need.setdefault(f.path, (version, f, []))
            needed += numbers
    for (version, f, numbers), what in zip(
        need.values(), _checked(lake, table, (f for _, f, _ in need.values())), strict=True
    ):
        if what is not None:
            wrong.append((version, lake.store.name(f.path), what, sorted(set(numbers))))
    return _Table(table, len(need), sum(f.bytes for _, f, _ in need.values()), wrong)


def _checked(lake: Lake, table: str, files: Iterable[DataFile]) -> list[str | None]:
    """What is wrong with each file, in their order; None where nothing is."""
    sizes = lake.store.sizes(f"{table.replace('.', '/')}/")
    there = lake.store.arrow_files(lake.path(table))

    def look(f: DataFile) -> str | None:
        lies = sizes.get(lake.store.name(f.path))
        # A list may lag behind what was put; the footer says whether it is there.
        if lies is None and not lake.store.is_there(lake.store.name(f.path)):
            return "is not there"
        if lies is not None and lies != f.bytes:
            return f"has {lies:,} bytes, the log says {f.bytes:,}"
        return _footer(lake, table, there, f)

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        return list(pool.map(look, files))


def _footer(lake: Lake, table: str, there: pafs.FileSystem, f: DataFile) -> str | None:
    try:
        if not lake.store.arrow_reads:
            lake.local([f])
        name = Path(f.path).relative_to(lake.path(table)).as_posix()
        with there.open_input_file(name) as opened, pq.ParquetFile(opened) as file:
            rows = file.metadata.num_rows
    except (OSError, pa.ArrowException, HuaxiangError) as e:
        return f"cannot be read: {in_one_line(e)}"
    return None if rows == f.rows else f"holds {rows:,} rows, the log says {f.rows:,}"


def _remedy(table: str, days: list[str]) -> str:
    """How to have it again: from a backup in any case."""
    layer = table.split(".")[0]
    if layer in FROM_FILES:
        return "bring the file back from a backup of the lake, or begin a new lake and make it anew from the inbox and landing"
    if layer in BOOKS or not days:
        return "bring the file back from a backup of the lake"
    more = f" (and of {len(days) - 1} more days)" if len(days) > 1 else ""
    return f"bring the file back from a backup of the lake, or make the day anew: `huaxiang run --as-of {max(days)} --force`{more}"
