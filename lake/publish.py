"""Publishing: one Delta transaction that adds staged files and removes the slices they replace.

``create_write_transaction`` trusts its caller: it was seen to take missing files, files outside the slice, foreign
schemas and the same transaction twice. So all that is checked here, from the files themselves.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from lake.lake import COMPACTION, NOTE, DataFile, Lake, _data_files
from lake.locks import refuse_lost
from lake.spans import span
from lake.staged import described
from lake.store import in_one_line
from schemas.arrow import file_schema
from schemas.contracts import contract
from schemas.errors import HuaxiangError, StoreError

Days = Mapping[str, Collection[date]]
"""By table, the days whose slices a publication replaces."""


Confirm = Callable[[], None]
"""Waits for a second verdict, and raises where it stops what was judged."""


class Audit(Protocol):
    """Judges the staged folders of tables before they are published; raising stops it.

    What it returns, if anything, is called where more than a later step would read the tables.
    """

    def __call__(self, staged: Mapping[str, Path], days: Days | None = None, /) -> Confirm | None: ...


class PublishError(HuaxiangError):
    """What was staged is not what the table may hold; nothing was published."""


Slices = Sequence[Mapping[str, Any]] | Literal["all"] | None


def publish(
    lake: Lake,
    table: str,
    staged: Path | Iterable[DataFile],
    *,
    replace: Slices,
    read_version: int | None,
    run_id: str,
    key: str,
    metadata: Mapping[str, Any] | None = None,
    appended: Path | None = None,
    even_empty: bool = False,
) -> int:
    """Make staged files part of the table in one transaction and return the table's version.

    ``replace``: None appends; ``"all"`` replaces the table; a list of partition values replaces those slices, and every
    staged file must lie in one of them; files ``appended`` in the same transaction need not. ``read_version`` is the
    version that the work was based on: PublishError if the table moved since. ``key`` makes it idempotent: a key that was published before changes nothing.
    ``even_empty`` publishes (and notes ``metadata``) where no file comes or goes; else that makes no version.
    """
    with span("commit", table):
        delta = lake.delta(table)
        if delta is None:
            raise PublishError(f"{table} does not exist; `ensure` it first")
        if delta.transaction_version(key) is not None:
            return delta.version()
        if read_version is not None and delta.version() != read_version:
            raise PublishError(
                f"{table} moved from version {read_version} to {delta.version()} while run {run_id} worked on it; "
                "nothing was published, run it again"
            )
        refuse_lost(lake)
        files = lake.staged(table, staged) if isinstance(staged, Path) else list(staged)
        root = lake.path(table)
        schema = pa.schema(delta.schema().to_arrow())
        partitions = contract(table).partitions
        removes = _replaced(delta, root, replace)
        _refuse_foreign(table, root, files, replace, partitions)
        further = [] if appended is None else lake.staged(table, appended)
        _refuse_foreign(table, root, further, None, partitions)
        adds = [_add_action(lake, table, root, f, schema, partitions) for f in [*files, *further]]
        if not adds and not removes and not even_empty:
            return delta.version()
        lake.store.share(f.path for f in [*files, *further])
        refuse_lost(lake)
        noted = {"run_id": run_id, "key": key, **(metadata or {})}
        return _commit(lake, table, delta, [*adds, *removes], noted, {key: 1}, key, run_id)


def publish_compacted(
    lake: Lake, table: str, made: Sequence[tuple[DataFile, Sequence[DataFile]]], *, read_version: int, run_id: str
) -> int:
    """Put files that hold the rows of others in the place of those: a version with the rows of ``read_version``.

    It notes what the newest publication noted, and which files it made of which, so that ``Lake.difference`` looks
    through it. PublishError if rows would come or go, or if the table moved.
    """
    delta = lake.delta(table)
    assert delta is not None
    if delta.version() != read_version:
        raise PublishError(f"{table} moved from version {read_version} to {delta.version()} while it was compacted")
    refuse_lost(lake)
    root, partitions = lake.path(table), contract(table).partitions
    schema = pa.schema(delta.schema().to_arrow())
    for new, old in made:
        if new.rows != sum(f.rows for f in old) or any(f.partition != new.partition for f in old):
            raise PublishError(f"{table}: {Path(new.path).name} does not hold the rows of the files it was made of")
    _refuse_foreign(table, root, [new for new, _ in made], None, partitions)
    adds = [_add_action(lake, table, root, new, schema, partitions, moves_rows=True) for new, _ in made]
    removes = [_remove_action(root, f, moves_rows=True) for _, old in made for f in old]
    done = {
        "by": run_id,
        "rows_of": lake.rows_version(table),
        "before": delta.transaction_version(COMPACTION),
        "files": {_below(root, new): [_below(root, f) for f in old] for new, old in made},
    }
    lake.store.share(new.path for new, _ in made)
    refuse_lost(lake)
    key = f"{COMPACTION}-{run_id}"
    counted = {key: 1, COMPACTION: read_version + 1}
    return _commit(
        lake, table, delta, [*adds, *removes], {**lake.metadata(table), COMPACTION: done}, counted, key, run_id
    )


def _commit(
    lake: Lake,
    table: str,
    delta: DeltaTable,
    actions: list[AddAction | RemoveAction],
    noted: Mapping[str, Any],
    counted: Mapping[str, int],
    key: str,
    run_id: str,
) -> int:
    """The version that the actions made; ``counted`` are Delta's transactions, ``key`` the one that is only this one's."""
    try:
        delta.create_write_transaction(
            actions,
            mode="append",
            schema=delta.schema(),
            partition_by=list(contract(table).partitions) or None,
            commit_properties=CommitProperties(
                custom_metadata={NOTE: json.dumps(noted)},
                app_transactions=[Transaction(name, n) for name, n in counted.items()],
                max_commit_retries=0,
            ),
            post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
        )
    except (DeltaError, OSError) as e:
        # A store may have taken the commit and its answer been lost: then the key is there.
        if lake.store.is_remote and (now := lake.delta(table)) is not None and now.transaction_version(key) is not None:
            return now.version()
        if not isinstance(e, CommitFailedError):
            if lake.store.is_remote:
                raise StoreError(f"{lake.address}: {table} cannot be published: {in_one_line(e)}") from e
            raise
        raise PublishError(
            f"{table} was written by somebody else while run {run_id} published version {delta.version() + 1}; "
            "nothing was published, run it again"
        ) from e
    published = lake.version(table)
    assert published is not None
    return published


def put_back(lake: Lake, table: str, version: int) -> None:
    """Make the table's newest version hold what an older one held; nothing where it does.

    What that version noted about itself holds again (``Lake.metadata``).
    """
    if not any(lake.difference(table, version)):
        return
    delta = lake.delta(table)
    assert delta is not None
    delta.restore(lake.as_compacted(table, version))
    lake.ensure(table)


def _replaced(delta: DeltaTable, root: Path, replace: Slices) -> list[RemoveAction]:
    if replace is None:
        return []
    found = _data_files(delta, root)
    if replace != "all":
        lies_in = _in_any_of(replace)
        found = [f for f in found if lies_in(f)]
    return [_remove_action(root, f) for f in found]


def _remove_action(root: Path, f: DataFile, *, moves_rows: bool = False) -> RemoveAction:
    """``moves_rows``: they are in another file of the same version."""
    values = {k: None if v is None else str(v) for k, v in f.partition.items()}
    return RemoveAction(_below(root, f), not moves_rows, 0, f.bytes, values)


def _below(root: Path, f: DataFile) -> str:
    return str(Path(f.path).relative_to(root))


def _in_any_of(slices: Iterable[Mapping[str, Any]]) -> Callable[[DataFile], bool]:
    """Whether a file lies in one of the slices; a day of a large table has a thousand of them, and the table a million files."""
    wanted: dict[tuple[str, ...], set[tuple[Any, ...]]] = {}
    for s in slices:
        wanted.setdefault(tuple(s), set()).add(tuple(s.values()))
    return lambda f: any(tuple(map(f.partition.get, names)) in values for names, values in wanted.items())


def _refuse_foreign(
    table: str, root: Path, files: Sequence[DataFile], replace: Slices, partitions: tuple[str, ...]
) -> None:
    slices = None if replace is None or replace == "all" else replace
    for s in slices or ():
        if unknown := set(s) - set(partitions):
            raise PublishError(f"{table} is not partitioned by {', '.join(sorted(unknown))}")
    lies_in = None if slices is None else _in_any_of(slices)
    seen: set[str] = set()
    for f in files:
        if f.path in seen:
            raise PublishError(f"{table}: {f.path} is staged twice")
        seen.add(f.path)
        if root not in Path(f.path).parents:
            raise PublishError(f"{table}: {f.path} lies outside the table")
        if set(f.partition) != set(partitions):
            raise PublishError(f"{table}: {f.path} has partitions {sorted(f.partition)}, wanted {list(partitions)}")
        if lies_in is not None and not lies_in(f):
            raise PublishError(f"{table}: {f.path} ({f.partition}) lies outside the slices that are replaced")


def _add_action(
    lake: Lake,
    table: str,
    root: Path,
    f: DataFile,
    schema: pa.Schema,
    partitions: tuple[str, ...],
    *,
    moves_rows: bool = False,
) -> AddAction:
    path = Path(f.path)
    try:
        about = described(lake.store, f.path)
    except FileNotFoundError:
        raise PublishError(f"{table}: staged file {path.name} is not there") from None
    have = about.arrow_schema
    wanted = file_schema(schema, partitions)
    for field in have:
        if field.name not in wanted.names:
            raise PublishError(f"{table}: {path.name} has column {field.name!r}, which the table has not")
        if wanted.field(field.name).type != field.type:
            raise PublishError(
                f"{table}: {path.name} column {field.name!r} is {field.type}, wanted {wanted.field(field.name).type}"
            )
    # No bounds: delta-rs turns the absent bound of one column into ``column >= null`` for every file as soon as another
    # column has bounds, and such a reader finds no rows (docs/decisions/statistics.md). Parquet footers have them.
    return AddAction(
        path=_below(root, f),
        size=about.bytes,
        partition_values={k: None if v is None else str(v) for k, v in f.partition.items()},
        modification_time=about.modified_ms,
        data_change=not moves_rows,
        stats=json.dumps({"numRecords": about.rows, "nullCount": about.nulls}),
    )
