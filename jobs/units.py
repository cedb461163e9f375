"""One unit of ingest: the new files (or the quarantined rows to replay) of one feed, from intent to publication.

The intent is written before anything is staged and names everything that the result depends on: files, mappings,
time of receipt. Every publication has a key made from it, so doing a unit again after a kill publishes what is missing
and nothing twice. Once the last data table is published only the manifest is left, and its rows are in the intent.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import pyarrow as pa

from jobs.deliveries import ManifestRow, manifest, publish_manifest
from jobs.parsing import in_contract, open_writer, text_of_columns
from lake.engine import Engine
from lake.lake import Lake, partition_path
from lake.publish import publish
from schemas.contracts import contract
from schemas.errors import HuaxiangError
from schemas.quarantine import literal

Progress = Callable[[int, int], None]
Audit = Callable[[dict[str, Path]], object]
GROUP_BYTES = 24 << 20
"""Files are parsed together up to this much text, as estimated; a larger one is alone."""
GZIP_RATIO = 8


@dataclass
class Batch:
    """The files of one mapping in a unit. For a replay ``files`` are the (deliveries of) quarantined rows."""

    batch_id: str
    source: str
    mapping: dict[str, Any]
    files: list[dict[str, Any]]


@dataclass
class Unit:
    """What is to be done for one feed. ``remove`` are [batch, file] pairs whose rows a replacing file takes over."""

    feed: str
    kind: Literal["ingest", "replay"]
    received_at: str
    zone: str
    currency: str
    guest_ids: list[str]
    batches: list[Batch]
    remove: list[list[str]] = field(default_factory=list)
    again: list[Batch] = field(default_factory=list)
    prepared: dict[str, Any] | None = None

    @property
    def unit_id(self) -> str:
        return hashlib.sha256(json.dumps([b.batch_id for b in self.batches]).encode()).hexdigest()[:16]

    def key(self, table: str) -> str:
        """Idempotency key of the unit's publication of a table."""
        return f"{self.kind}-{self.unit_id}-{table}"

    @property
    def tables(self) -> list[str]:
        """Data tables in the order in which they are published; the last one decides whether the unit counts."""
        order = ["bronze", "quarantine", "silver"] if self.kind == "ingest" else ["silver", "quarantine"]
        return [f"{layer}.{self.feed}" for layer in order]


@dataclass
class UnitResult:
    """What became of a unit: manifest rows of files taken, and an error by (source, file) of the others."""

    unit: Unit
    rows: list[ManifestRow] = field(default_factory=list)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    stopped: str | None = None


# --- intents ---


def _intents(lake: Lake) -> Path:
    return lake.root / "ops" / "intents"


def write_intent(lake: Lake, unit: Unit) -> None:
    """Write down, at once and whole, what is about to be done."""
    folder = _intents(lake)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{uuid.uuid4().hex}.part"
    part.write_text(json.dumps(asdict(unit), ensure_ascii=False), encoding="utf-8")
    part.replace(folder / f"{unit.feed}.json")


def read_intents(lake: Lake, feeds: Iterable[str]) -> list[Unit]:
    """Units that a killed run left unfinished."""
    found = []
    for feed in feeds:
        path = _intents(lake) / f"{feed}.json"
        if path.exists():
            raw = json.loads(path.read_text(encoding="utf-8"))
            batches = {name: [Batch(**b) for b in raw.pop(name)] for name in ("batches", "again")}
            found.append(Unit(**raw, **batches))
    return found


def forget_intent(lake: Lake, unit: Unit) -> None:
    (_intents(lake) / f"{unit.feed}.json").unlink(missing_ok=True)


# --- execution ---


@dataclass
class _Staged:
    """A unit between reading and publication."""

    unit: Unit
    folders: dict[str, Path]
    counts: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    candidates: list[dict[str, Any]] = field(default_factory=list)
    slices: list[str] = field(default_factory=list)
    errors: dict[tuple[str, str], str] = field(default_factory=dict)
    taken: Counter[tuple[str, str]] = field(default_factory=Counter)
    duplicates: Counter[tuple[str, str]] = field(default_factory=Counter)
    months: list[int] = field(default_factory=list)
    versions: dict[str, int | None] = field(default_factory=dict)


def execute(
    lake: Lake,
    engine: Engine,
    units: Sequence[Unit],
    run_id: str,
    *,
    progress: Progress | None = None,
    audit_staged: Audit | None = None,
) -> list[UnitResult]:
    """Do the units, side by side; the caller holds their locks and has written their intents."""
    results, open_units = [], []
    for unit in units:
        if unit.prepared is not None and _is_published(lake, unit, unit.tables[-1]):
            results.append(_finish(lake, unit, run_id))
        else:
            unit.prepared = None
            open_units.append(unit)
    staged = [_stage(lake, unit, run_id) for unit in open_units]
    _parse(lake, engine, staged, progress)
    _settle(lake, engine, staged, progress)
    for s in staged:
        try:
            results.append(_publish(lake, s, run_id, audit_staged))
        except HuaxiangError as e:
            _abandon(lake, s)
            results.append(UnitResult(s.unit, errors=s.errors, stopped=str(e)))
    return results


def _is_published(lake: Lake, unit: Unit, table: str) -> bool:
    delta = lake.delta(table)
    return delta is not None and delta.transaction_version(unit.key(table)) is not None


def _stage(lake: Lake, unit: Unit, run_id: str) -> _Staged:
    folders = {}
    for table in unit.tables:
        lake.ensure(table)
        folders[table] = lake.stage(table, run_id)
    versions = {table: lake.version(table) for table in unit.tables}
    return _Staged(unit, folders, versions=versions)


def _parse(lake: Lake, engine: Engine, staged: Sequence[_Staged], progress: Progress | None) -> None:
    items: list[tuple[_Staged, str, dict[str, Any]]] = []
    total = sum(_weight(f) for s in staged for b in s.unit.batches for f in b.files)
    group_bytes = max(1 << 20, min(GROUP_BYTES, total // (2 * getattr(engine, "cores", 2))))
    for s in staged:
        if s.unit.kind == "replay":
            items += [(s, "jobs.replaying:parse_again", i) for i in _replay_items(lake, s)]
            continue
        items += [(s, "jobs.parsing:parse", i) for i in _parse_items(lake, s, s.unit.again, "again", group_bytes)]
        items += [(s, "jobs.parsing:parse", i) for i in _parse_items(lake, s, s.unit.batches, "part", group_bytes)]
    done = 0
    for task in dict.fromkeys(t for _, t, _ in items):
        mine = [(s, i) for s, t, i in items if t == task]
        shown = None if progress is None else _shifted(progress, done, len(items))
        for (s, item), result in zip(mine, engine.map(task, [i for _, i in mine], shown), strict=True):
            _collect(s, item, result)
        done += len(mine)


def _shifted(progress: Progress, first: int, total: int) -> Progress:
    return lambda done, _: progress(first + done, total)


def _weight(file: dict[str, Any]) -> int:
    name = str(file["name"])
    return int(file["bytes"]) * (GZIP_RATIO if name.endswith((".gz", ".parquet")) else 1)


def _common(s: _Staged, batch: Batch, folders: dict[str, Path]) -> dict[str, Any]:
    return {
        "mapping": batch.mapping,
        "zone": s.unit.zone,
        "currency": s.unit.currency,
        "guest_ids": s.unit.guest_ids,
        "received_at": s.unit.received_at,
        "batch_id": batch.batch_id,
        "folders": {table.split(".")[0]: str(folder) for table, folder in folders.items()},
    }


def _parse_items(lake: Lake, s: _Staged, batches: Sequence[Batch], word: str, group_bytes: int) -> list[dict[str, Any]]:
    """Files of a batch in order, small ones together. Files parsed ``again`` give candidates of silver only."""
    items = []
    for batch in batches:
        groups: list[list[dict[str, Any]]] = []
        filled = 0
        for file in batch.files:
            weight = _weight(file)
            if not groups or filled + weight > group_bytes:
                groups.append([])
                filled = 0
            groups[-1].append(file)
            filled += weight
        for n, group in enumerate(groups):
            part = f"{word}-{batch.batch_id}-{n:05d}"
            folders = s.folders
            item = _common(s, batch, folders) | {"part": part, "again": word == "again"}
            if word == "again":
                item["received_at"] = group[0]["received_at"]
                item["folders"] = {"silver": str(s.folders[f"silver.{s.unit.feed}"])}
            item["files"] = [{"path": str(lake.root / f["landing"]), "name": f["name"]} for f in group]
            items.append(item)
    return items


def _replay_items(lake: Lake, s: _Staged) -> list[dict[str, Any]]:
    items = []
    for n, batch in enumerate(s.unit.batches):
        slices = []
        for origin in dict.fromkeys(f["origin"] for f in batch.files):
            found = lake.files(f"quarantine.{s.unit.feed}", where={"_batch_id": origin})
            slices.append({"batch_id": origin, "paths": [f.path for f in found]})
        items.append(_common(s, batch, s.folders) | {"part": f"replay-{n:05d}", "slices": slices})
    return items


def _collect(s: _Staged, item: dict[str, Any], result: dict[str, Any]) -> None:
    mapping, batch_id = item["mapping"], item["batch_id"]
    for counts in result["files"]:
        if counts["error"] is not None:
            s.errors[mapping["name"], counts["name"]] = counts["error"]
        elif not item.get("again"):
            s.counts[batch_id, counts["name"]] = counts
    s.candidates += [c | {"again": item.get("again", False)} for c in result["silver"]]
    s.slices += result.get("slices", [])


def _settle(lake: Lake, engine: Engine, staged: Sequence[_Staged], progress: Progress | None) -> None:
    items: list[tuple[_Staged, dict[str, Any]]] = []
    for s in staged:
        silver = f"silver.{s.unit.feed}"
        months = {c["month"] for c in s.candidates if not c["again"]}
        if s.unit.remove:
            gone = _months_of(lake, silver, s.unit.remove)
            months |= gone
            for c in s.candidates:
                if c["again"] and c["month"] not in gone:
                    Path(c["path"]).unlink()
        s.months = sorted(months)
        for month in s.months:
            items.append((s, _settle_item(lake, s, silver, month)))
    results = engine.map("jobs.settling:settle", [i for _, i in items], progress) if items else []
    for (s, _), result in zip(items, results, strict=True):
        for counter, rows in ((s.taken, result["taken"]), (s.duplicates, result["duplicates"])):
            for batch, file, n in rows:
                counter[batch, file] += n


def _settle_item(lake: Lake, s: _Staged, silver: str, month: int) -> dict[str, Any]:
    existing = lake.files(silver, version=s.versions[silver], where={"event_month": month})
    return {
        "feed": s.unit.feed,
        "folder": str(s.folders[silver] / partition_path({"event_month": month})),
        "candidates": [c["path"] for c in s.candidates if c["month"] == month and Path(c["path"]).exists()],
        "existing": [f.path for f in existing],
        "own": [b.batch_id for b in s.unit.batches],
        "remove": s.unit.remove,
        "rewrite": bool(s.unit.remove),
        "resume_ordinals": s.unit.kind == "replay",
    }


def _months_of(lake: Lake, table: str, pairs: Sequence[Sequence[str]]) -> set[int]:
    """Months in which rows of [batch, file] pairs stand."""
    found = set()
    with duckdb.connect(config={"threads": 1}) as con:
        for f in lake.files(table):
            where = " or ".join(f"(_batch_id = {literal(b)} and _file = {literal(n)})" for b, n in pairs)
            sql = f"select 1 from read_parquet({literal(f.path)}, hive_partitioning = false) where {where} limit 1"
            if con.execute(sql).fetchall():
                found.add(int(f.partition["event_month"]))
    return found


def _publish(lake: Lake, s: _Staged, run_id: str, audit_staged: Audit | None) -> UnitResult:
    unit = s.unit
    replace = {table: _replaced(lake, s, table) for table in unit.tables}
    rows, changed = _manifest_rows(lake, s)
    for row in [*rows, *changed]:
        if row.lost:
            raise HuaxiangError(
                f"{row.source}, {row.file}: {row.rows_read:,} rows were read but {row.rows_read - row.lost:,} are accounted "
                "for (silver, duplicates, quarantined, not selected); nothing was published: please report this"
            )
    if audit_staged is not None:
        audit_staged({t: f for t, f in s.folders.items() if any(f.rglob("*.parquet"))})
    unit.prepared = {"rows": [asdict(r) for r in rows], "changed": [asdict(r) for r in changed]}
    write_intent(lake, unit)
    for table in unit.tables:
        if _is_published(lake, unit, table):
            shutil.rmtree(s.folders[table], ignore_errors=True)
            continue
        publish(
            lake,
            table,
            s.folders[table],
            replace=replace[table],
            read_version=s.versions[table],
            run_id=run_id,
            key=unit.key(table),
            metadata={"feed": unit.feed, "batches": [b.batch_id for b in unit.batches]},
        )
    result = _finish(lake, unit, run_id)
    result.errors = s.errors
    _drop_landing_of_failed(lake, s)
    return result


def _finish(lake: Lake, unit: Unit, run_id: str) -> UnitResult:
    """The manifest, then the intent is done."""
    assert unit.prepared is not None
    rows, changed = ([ManifestRow(**r) for r in unit.prepared[name]] for name in ("rows", "changed"))
    if rows or changed:
        publish_manifest(lake, rows, changed, run_id, unit.key("landing.manifest"))
    forget_intent(lake, unit)
    return UnitResult(unit, rows=rows)


def _abandon(lake: Lake, s: _Staged) -> None:
    """Nothing of the unit stays: neither staged files nor the intent."""
    for table, folder in s.folders.items():
        if not _is_published(lake, s.unit, table):
            shutil.rmtree(folder, ignore_errors=True)
    forget_intent(lake, s.unit)


def _drop_landing_of_failed(lake: Lake, s: _Staged) -> None:
    if not s.errors:
        return
    kept = {r.path for r in manifest(lake, [s.unit.feed])}
    for batch in s.unit.batches:
        for file in batch.files:
            if (batch.source, file["name"]) in s.errors and file.get("landing") and file["landing"] not in kept:
                (lake.root / file["landing"]).unlink(missing_ok=True)


def _replaced(lake: Lake, s: _Staged, table: str) -> list[dict[str, object]] | None:
    """Slices that the unit's publication of a table replaces, their staying rows staged beside the new ones."""
    unit, layer = s.unit, table.split(".")[0]
    if unit.kind == "replay":
        return [{"_batch_id": b} for b in s.slices] if layer == "quarantine" else None
    if not unit.remove:
        return None
    if layer == "silver":
        return [{"event_month": m} for m in s.months]
    slices = sorted({b for b, _ in unit.remove})
    for batch in slices:
        gone = [name for b, name in unit.remove if b == batch]
        _stage_without(lake, table, batch, gone, s.folders[table])
    return [{"_batch_id": b} for b in [*slices, *(b.batch_id for b in unit.batches)]]


def _stage_without(lake: Lake, table: str, batch: str, gone: Sequence[str], folder: Path) -> None:
    """Stage a slice of bronze or quarantine again without the rows of some files."""
    files = lake.files(table, where={"_batch_id": batch})
    if not files:
        return
    listed = ", ".join(literal(f.path) for f in files)
    names = ", ".join(literal(n) for n in gone)
    target = folder / partition_path({"_batch_id": batch}) / f"kept-{uuid.uuid4().hex[:8]}.parquet"
    writer = None
    with duckdb.connect(config={"threads": 1}) as con:
        reader = con.sql(
            f"select * from read_parquet([{listed}], hive_partitioning = false, union_by_name = true) "
            f"where not list_contains([{names}], _file)"
        ).to_arrow_reader(1 << 17)
        for record_batch in reader:
            found = pa.Table.from_batches([record_batch])
            if not len(found):
                continue
            typed = in_contract(contract(table), {n: found[n] for n in found.column_names}, batch)
            if writer is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                writer = open_writer(target, typed.schema)
            writer.write_table(typed)
    if writer is not None:
        writer.close()


# --- manifest rows ---


def _manifest_rows(lake: Lake, s: _Staged) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """(rows of files taken now, rows of earlier files that change: replaced ones, and ones whose rows came back)."""
    new = []
    for batch in s.unit.batches:
        by_name = {f["name"]: f for f in batch.files}
        for (batch_id, name), counts in s.counts.items():
            if batch_id == batch.batch_id and name in by_name:
                new.append(_manifest_row(s, batch, by_name[name], counts))
    if not s.unit.remove:
        return new, []
    gone = {(b, n) for b, n in s.unit.remove}
    changed = []
    for row in manifest(lake, [s.unit.feed]):
        came_back = s.taken[row.batch_id, row.file]
        if (row.batch_id, row.file) in gone:
            row.state = "replaced"
            changed.append(row)
        elif came_back:
            row.rows_silver += came_back
            row.rows_duplicate -= came_back
            changed.append(row)
    return new, changed


def _manifest_row(s: _Staged, batch: Batch, file: dict[str, Any], counts: dict[str, Any]) -> ManifestRow:
    late = {int(d): n for d, n in counts["late"].items()}
    received = datetime.fromisoformat(s.unit.received_at)
    key = (batch.batch_id, file["name"])
    return ManifestRow(
        feed=s.unit.feed,
        source=batch.source,
        file=file["name"],
        path=file["landing"],
        checksum=file["checksum"],
        bytes=file["bytes"],
        columns=file.get("columns") or text_of_columns(counts["columns"]),
        rows_read=counts["rows_read"],
        rows_not_selected=counts["rows_not_selected"],
        rows_silver=s.taken[key],
        rows_duplicate=s.duplicates[key],
        rows_quarantined=counts["rows_quarantined"],
        rows_late=sum(n for days, n in late.items() if days > 1),
        dst_moved=counts["dst_moved"],
        late_days_p95=percentile(late, 0.95),
        late_days_max=max(late) if late else None,
        event_first_us=counts["event_first_us"],
        event_last_us=counts["event_last_us"],
        state="taken",
        batch_id=batch.batch_id,
        ingested_us=int(received.timestamp() * 1_000_000),
    )


def percentile(counts: dict[int, int], q: float) -> float | None:
    """Type-7 percentile of values given as counts; None where there are none."""
    total = sum(counts.values())
    if not total:
        return None
    place = (total - 1) * q
    low, high = int(place), min(int(place) + 1, total - 1)
    ends, values = [], sorted(counts)
    seen = 0
    for v in values:
        seen += counts[v]
        ends.append(seen)
    at = [next(v for v, end in zip(values, ends, strict=True) if i < end) for i in (low, high)]
    return at[0] + (at[1] - at[0]) * (place - low)
