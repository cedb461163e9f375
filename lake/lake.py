"""The lake: Delta tables at ``LAKE/<layer>/<table>``, what is in them at a version, and where new files are staged."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Field
from deltalake.exceptions import DeltaError, TableNotFoundError

from lake import journal
from lake.addresses import open_store
from lake.staged import described
from lake.store import Store, in_one_line
from schemas.arrow import arrow_schema
from schemas.contracts import contract, contracts
from schemas.errors import HuaxiangError, StoreError

if TYPE_CHECKING:
    import pyarrow.dataset as pads

LOG_RETENTION = "interval 36500 days"
"""How long Delta keeps the log of old versions: longer than any release, or a month's end could not be read one day."""


NOTE = "huaxiang"
"""What a version notes about itself stands under this name in its log."""
COMPACTION = "compaction"
"""Of a table, the transaction that says which version compacted it last; in that version's note, what it did."""
OPENING_TRIES = 6
"""How often a version that is known to be there is opened: a store may list it late."""


@dataclass(frozen=True)
class DataFile:
    """One Parquet file of a table: its path below the lake's folder, typed partition values, rows.

    On an object store the path becomes a file by ``Lake.local``.
    """

    path: str
    partition: dict[str, Any]
    rows: int
    bytes: int = 0


def partition_path(values: Mapping[str, Any]) -> str:
    """``as_of=2026-03-01/bucket=0``: how a data file's folder says its partition."""
    return "/".join(f"{k}={quote(str(v), safe='-_.')}" for k, v in values.items())


def by_bucket(files: Iterable[DataFile]) -> dict[int, list[str]]:
    """Paths of the files of a table that is partitioned by bucket, in order of bucket and path."""
    found: dict[int, list[str]] = {}
    for f in sorted(files, key=lambda f: (f.partition["bucket"], f.path)):
        found.setdefault(f.partition["bucket"], []).append(f.path)
    return found


class Lake:
    """Delta tables at a place: a folder, or a store. ``zone`` is the business time zone in which days and months are cut.

    ``pinned`` tables are read at these versions and not written (None: not there); ``at`` makes such a view.
    """

    def __init__(self, place: Path | str | Store, zone: str, pinned: Mapping[str, int | None] | None = None):
        self.store = place if isinstance(place, Store) else open_store(place)
        self.zone = zone
        self.pinned = dict(pinned or {})
        self._opened: dict[str, DeltaTable] = {}

    def at(self, versions: Mapping[str, int | None]) -> Lake:
        """This lake with tables at fixed versions, whatever is published meanwhile: what a run, or a reader of a release, reads.

        The newest version of such a table is the fixed one, and it cannot be written through the view.
        """
        return Lake(self.store, self.zone, self.pinned | dict(versions))

    @property
    def root(self) -> Path:
        """The folder below which the lake's paths lie in this process."""
        return self.store.folder

    @property
    def address(self) -> str:
        """What a user calls the lake: its folder, or its URI."""
        return self.store.address

    def path(self, table: str) -> Path:
        layer, name = table.split(".")
        return self.root / layer / name

    def local(self, files: Iterable[DataFile | str]) -> list[str]:
        """Paths of data or scratch files, each of them a local file now: on an object store those that lack are fetched."""
        return self.store.local(f if isinstance(f, str) else f.path for f in files)

    def delta(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The Delta table at a version (latest if absent); None while it does not exist.

        Opening a table reads its whole log: one that did not move since it was opened is handed out again.
        """
        newest = self.version(table)
        if newest is None:
            return None
        wanted = newest if version is None else version
        opened = self._opened.get(table)
        if opened is not None and opened.version() == wanted:
            return opened
        found = self._open(table, wanted)
        if found is not None and version is None:
            self._opened[table] = found
        return found

    def _open(self, table: str, version: int) -> DeltaTable | None:
        store, path = self.store, self.path(table)
        for attempt in range(OPENING_TRIES):
            try:
                return DeltaTable(store.delta_address(path), version=version, storage_options=store.delta_options())
            except TableNotFoundError:
                if not store.is_remote:
                    return None
            except DeltaError:
                if not store.is_remote or attempt == OPENING_TRIES - 1:
                    raise
            except OSError as e:
                if not store.is_remote:
                    raise
                raise StoreError(f"{store.address}: {table} cannot be opened: {in_one_line(e)}") from e
            # Its log says that the version is there: a list that lags shows it later.
            time.sleep(0.1 * 2**attempt)
        return None

    def version(self, table: str) -> int | None:
        """The newest version, or the one that it is pinned to; None while the table does not exist."""
        return self.pinned[table] if table in self.pinned else self.store.newest_version(self.path(table))

    def versions(self) -> dict[str, int]:
        """``version`` of every table that exists, by ``layer.table``."""
        return {name: v for name in contracts() if (v := self.version(name)) is not None}

    def schema(self, table: str, version: int | None = None) -> pa.Schema:
        """All columns, partitions included: the table's own, or the contract's while it does not exist."""
        found = self.delta(table, version)
        return arrow_schema(contract(table)) if found is None else pa.schema(found.schema().to_arrow())

    def ensure(self, table: str, extra: pa.Schema | None = None) -> None:
        """Create the table from its contract (plus ``extra`` columns of an open table), or add columns it lacks."""
        self._refuse_pinned(table)
        c = contract(table)
        wanted = arrow_schema(c)
        if extra is not None:
            if not c.open:
                raise HuaxiangError(f"table {table} is closed: its columns are those of its contract")
            wanted = pa.schema([*wanted, *extra])
        found = self.delta(table)
        if found is None:
            try:
                DeltaTable.create(
                    self.store.delta_address(self.path(table)),
                    storage_options=self.store.delta_options(),
                    schema=wanted,
                    mode="ignore",
                    partition_by=list(c.partitions) or None,
                    name=c.name,
                    description=c.description["en"],
                    configuration={"delta.logRetentionDuration": LOG_RETENTION} | self.store.table_properties(),
                )
            except DeltaError:
                # Made by another meanwhile, or by us and the answer was lost: a table that is there is what was wanted.
                if not self.store.is_remote or self.delta(table) is None:
                    raise
            return
        have = pa.schema(found.schema().to_arrow())
        missing = [f for f in wanted if f.name not in have.names]
        changed = [f.name for f in wanted if f.name in have.names and have.field(f.name).type != f.type]
        if changed:
            raise HuaxiangError(
                f"table {table}: the type of {', '.join(changed)} differs from what is stored "
                f"({', '.join(str(have.field(n).type) for n in changed)}); give the changed column a new name"
            )
        if missing:
            found.alter.add_columns([Field.from_arrow(f) for f in missing])

    def files(self, table: str, version: int | None = None, where: Mapping[str, Any] | None = None) -> list[DataFile]:
        """The table's data files, those of the named partitions only: ``where={"as_of": day, "bucket": [0, 1]}``."""
        found = self.delta(table, version)
        if found is None:
            return []
        files = _data_files(found, self.path(table), where)
        self.store.note_there(f.path for f in files)
        return files

    def difference(
        self, table: str, version: int | None, until: int | None = None
    ) -> tuple[list[DataFile], list[DataFile]]:
        """Files of ``until`` (newest if absent) whose rows came since ``version``, and files of ``version`` whose rows went.

        All files came if ``version`` is None. A compaction (``huaxiang lake tidy``) moves rows to another file: it brings
        none and takes none away. Files that went stay where they are while a release, or what was made of them, needs them.
        """
        now = self.files(table, until)
        if version is None:
            return now, []
        before = self.files(table, version)
        made_of = self._made_of(table, version, until)
        was, there = ({p for f in files for p in _origins(f.path, made_of)} for files in (before, now))
        came = [f for f in now if not _origins(f.path, made_of) <= was]
        return came, [f for f in before if not _origins(f.path, made_of) <= there]

    def added_since(self, table: str, version: int | None, until: int | None = None) -> list[DataFile]:
        """Files whose rows came since ``version``; all files if that is None."""
        return self.difference(table, version, until)[0]

    def removed_since(self, table: str, version: int | None, until: int | None = None) -> list[DataFile]:
        """Files of ``version`` whose rows are no longer there."""
        return self.difference(table, version, until)[1]

    def _made_of(self, table: str, since: int, until: int | None) -> dict[str, list[str]]:
        """Files that compactions made after the version ``since``, each with the files whose rows it holds."""
        found: dict[str, list[str]] = {}
        delta = self.delta(table, until)
        at = None if delta is None else delta.transaction_version(COMPACTION)
        while at is not None and at > since:
            done = self.note(table, at).get(COMPACTION)
            if done is None:
                break
            found |= {
                self._below(table, made): [self._below(table, f) for f in of] for made, of in done["files"].items()
            }
            at = done["before"]
        return found

    def as_compacted(self, table: str, version: int) -> int:
        """The version itself, or the newest compaction that holds its rows and no others."""
        newest = self.delta(table)
        at = None if newest is None else newest.transaction_version(COMPACTION)
        while at is not None and at > version:
            if not any(self.difference(table, version, at)):
                return at
            at = self.note(table, at).get(COMPACTION, {}).get("before")
        return version

    def _below(self, table: str, name: str) -> str:
        return str(self.path(table) / name)

    def is_unmoved(self, then: Mapping[str, int | None], now: Mapping[str, int | None]) -> bool:
        """Whether tables hold the same rows at the versions ``now`` as they did ``then``."""

        def moved(table: str) -> bool:
            was, until = then[table], now[table]
            return was != until and (was is None or until is None or any(self.difference(table, was, until)))

        return then.keys() == now.keys() and not any(map(moved, now))

    def rows_version(self, table: str) -> int | None:
        """The newest version; where that is a compaction, the one whose rows it holds: two that are equal have equal rows."""
        version = self.version(table)
        done = {} if version is None else self.note(table, version).get(COMPACTION, {})
        return done.get("rows_of", version)

    def stage(self, table: str, run_id: str) -> Path:
        """A new folder at the table's final place; files below it belong to the table once they are published."""
        self._refuse_pinned(table)
        folder = self.path(table) / f"d-{run_id}-{uuid.uuid4().hex[:8]}"
        note = {"table": table, "folder": self.store.name(folder), "version": self.version(table)}
        journal.note(self, run_id, note)
        folder.mkdir(parents=True)
        return folder

    def _refuse_pinned(self, table: str) -> None:
        if table in self.pinned:
            raise RuntimeError(
                f"{table} is read at version {self.pinned[table]} and cannot be written through this view"
            )

    def scratch(self, run_id: str) -> Path:
        """The run's folder for files that no table will hold; gone when the run is finished or recovered."""
        return journal.scratch(self, run_id)

    def staged(self, table: str, folder: Path) -> list[DataFile]:
        """What was written below a staging folder, partitions read from the folders' names."""
        schema = arrow_schema(contract(table))
        found = []
        for path in self.store.below(folder):
            raw = dict(part.split("=", 1) for part in Path(path).relative_to(folder).parts[:-1])
            about = described(self.store, path)
            found.append(
                DataFile(
                    path=path,
                    partition={k: typed(schema.field(k).type, unquote(v)) for k, v in raw.items()},
                    rows=about.rows,
                    bytes=about.bytes,
                )
            )
        return found

    def is_filled(self, folder: Path) -> bool:
        """Whether anything was written below a staging or scratch folder."""
        return bool(self.store.below(folder))

    def drop(self, folder: Path) -> None:
        """Throw away what was written below a staging or scratch folder."""
        self.store.forget_below(folder)

    def dataset(self, table: str, version: int | None = None) -> pads.Dataset:
        """The table for DuckDB and pyarrow scanners, partition columns included; empty while it does not exist."""
        # It brings pandas along: a quarter of a second that most verbs need not pay.
        import pyarrow.dataset as pads

        found = self.delta(table, version)
        if found is None or not found.file_uris():
            return pads.dataset(self.schema(table).empty_table())
        # Arrow's own file systems: deltalake's ends processes by signal (docs/decisions/arrow-reads-tables.md).
        if not self.store.arrow_reads:
            self.local(_data_files(found, self.path(table)))
        return found.to_pyarrow_dataset(filesystem=self.store.arrow_files(self.path(table)))

    def metadata(self, table: str) -> dict[str, Any]:
        """What the newest publication of the table noted about itself (run, inputs); empty before the first."""
        version = self.version(table)
        # Of the log only what it takes: a table's whole history is a file a commit.
        while version is not None and version >= 0:
            about = self._about(table, version)
            if about is None:
                break
            if NOTE in about:
                noted: dict[str, Any] = json.loads(about[NOTE])
                return noted
            restored = about.get("operation") == "RESTORE"
            version = int(about["operationParameters"]["version"]) if restored else version - 1
        return {}

    def note(self, table: str, version: int) -> dict[str, Any]:
        """What a version noted about itself; empty where it noted nothing or its log is gone."""
        noted: dict[str, Any] = json.loads((self._about(table, version) or {}).get(NOTE, "{}"))
        return noted

    def _about(self, table: str, version: int) -> dict[str, Any] | None:
        """What a version's log says of the commit itself; None where there is none."""
        commit = self.store.read(f"{table.replace('.', '/')}/_delta_log/{version:020d}.json")
        if commit is None:
            return None
        # A day of a large table is a thousand lines.
        lines = (json.loads(line) for line in commit.splitlines() if b'"commitInfo"' in line)
        return next((line["commitInfo"] for line in lines if "commitInfo" in line), {})


def _origins(path: str, made_of: Mapping[str, Sequence[str]]) -> set[str]:
    """The files that a file's rows were in before any compaction; itself if it was there from the first."""
    if path not in made_of:
        return {path}
    return {p for f in made_of[path] for p in _origins(f, made_of)}


def typed(kind: pa.DataType, text: str | None) -> Any:
    """A partition value from its text."""
    if text is None or text == "__HIVE_DEFAULT_PARTITION__":
        return None
    return pa.array([text]).cast(kind)[0].as_py()


def _data_files(table: DeltaTable, root: Path, where: Mapping[str, Any] | None = None) -> list[DataFile]:
    actions = pa.table(table.get_add_actions())
    # Years of days have a file a bucket each: only those that are asked for become objects.
    for name, value in (where or {}).items():
        wanted = list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]
        held = pc.struct_field(actions["partition"], name)
        actions = actions.filter(pc.is_in(held, value_set=pa.array(wanted, held.type)))
    partitions = actions["partition"].to_pylist() if "partition" in actions.column_names else [{}] * len(actions)
    columns = zip(
        actions["path"].to_pylist(),
        partitions,
        actions["num_records"].to_pylist(),
        actions["size_bytes"].to_pylist(),
        strict=True,
    )
    return [DataFile(str(root / unquote(path)), partition, rows, size) for path, partition, rows, size in columns]
