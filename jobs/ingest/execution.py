"""Doing the units of ingest, side by side: parse, settle, audit, publish, note in the manifest."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.ingest.accounting import manifest_rows
from jobs.ingest.findings import KINDS
from jobs.ingest.landing import drop_landing
from jobs.ingest.outputs import in_contract, open_writer
from jobs.ingest.parse_items import GROUP_BYTES, parse_items, replay_items, weight
from jobs.ingest.units import Progress, Staged, Unit, UnitResult, forget_intent, write_intent
from lake.audit import Auditor
from lake.budget import in_memory
from lake.disk import is_full, told_when_full
from lake.engine import Engine
from lake.lake import Lake, partition_path
from lake.manifest import ManifestRow, manifest, publish_manifest
from lake.publish import Audit, publish
from lake.refused import remember
from schemas.contracts import contract
from schemas.errors import HuaxiangError
from schemas.quarantine import literal


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
    results: list[UnitResult] = []
    open_units: list[Unit] = []
    for unit in units:
        if unit.prepared is not None and _is_published(lake, unit, unit.tables[-1]):
            results.append(_finish(lake, unit, run_id))
        else:
            unit.prepared = None
            open_units.append(unit)
    staged: list[Staged] = []
    with told_when_full(lake, lambda: _taken(results, units)), _cleared_when_full(lake, staged):
        if isinstance(audit_staged, Auditor):
            audit_staged.warm()
        staged += [_stage(lake, unit, run_id) for unit in open_units]
        _parse(lake, engine, staged, progress)
        for s in staged:
            _keep_unreplaced(lake, s)
        _settle(lake, engine, staged, run_id, progress)
        for s in staged:
            _unless_stopped(s, partial(_judge, lake, audit_staged=audit_staged))
        for s in staged:
            _unless_stopped(s, partial(_publish, lake, run_id=run_id))
            results.append(_finish(lake, s.unit, run_id) if s.stopped is None else _abandon(lake, s, run_id))
    return results


def _unless_stopped(s: Staged, do: Callable[[Staged], None]) -> None:
    """What stops a feed stops no other, and is remembered; nothing more is done of a feed that is stopped."""
    if s.stopped is not None:
        return
    try:
        do(s)
    except HuaxiangError as e:
        if is_full(e):
            raise
        s.stopped = str(e)


def _taken(results: Sequence[UnitResult], units: Sequence[Unit]) -> str:
    """Which feeds are published and which are not, in words."""
    done = [r.unit.feed for r in results if r.stopped is None]
    open_ = [u.feed for u in units if u.feed not in done]
    return f"new files of {', '.join(done) or 'no feed'} are taken, those of {', '.join(open_)} not yet"


@contextmanager
def _cleared_when_full(lake: Lake, staged: Sequence[Staged]) -> Iterator[None]:
    """What was staged and not published leaves a full disk at once; the intents stay, so the next run goes on."""
    try:
        yield
    except Exception as e:
        if is_full(e):
            for s in staged:
                for table, folder in s.folders.items():
                    if not _is_published(lake, s.unit, table):
                        lake.drop(folder)
        raise


def _is_published(lake: Lake, unit: Unit, table: str) -> bool:
    delta = lake.delta(table)
    return delta is not None and delta.transaction_version(unit.key(table)) is not None


def _stage(lake: Lake, unit: Unit, run_id: str) -> Staged:
    folders = {}
    for table in unit.tables:
        lake.ensure(table)
        folders[table] = lake.stage(table, run_id)
    versions = {table: lake.version(table) for table in unit.tables}
    return Staged(unit, folders, versions=versions)


def _parse(lake: Lake, engine: Engine, staged: Sequence[Staged], progress: Progress | None) -> None:
    items: list[tuple[Staged, str, dict[str, Any]]] = []
    total = sum(weight(f) for s in staged for b in s.unit.batches for f in b.files)
    group_bytes = max(1 << 20, min(GROUP_BYTES, total // (2 * engine.cores)))
    # On a cluster a task has one slot, whatever else is idle.
    bytes_a_core = total + 1 if engine.is_apart else max(GROUP_BYTES, total // engine.cores)
    for s in staged:
        if s.unit.kind == "replay":
            items += [(s, "jobs.ingest.replaying:parse_again", i) for i in replay_items(lake, s)]
            continue
        items += [
            (s, "jobs.ingest.parsing:parse_files", i)
            for i in parse_items(lake, s, s.unit.again, "again", group_bytes, bytes_a_core)
        ]
        items += [
            (s, "jobs.ingest.parsing:parse_files", i)
            for i in parse_items(lake, s, s.unit.batches, "part", group_bytes, bytes_a_core)
        ]
    done = 0
    for task in dict.fromkeys(t for _, t, _ in items):
        mine = [(s, i) for s, t, i in items if t == task]
        shown = None if progress is None else _shifted(progress, done, len(items))
        for (s, item), result in zip(mine, engine.map(task, [i for _, i in mine], shown), strict=True):
            _collect(s, item, result)
        done += len(mine)


def _shifted(progress: Progress, first: int, total: int) -> Progress:
    return lambda done, _: progress(first + done, total)


def _collect(s: Staged, item: dict[str, Any], result: dict[str, Any]) -> None:
    mapping, batch_id = item["mapping"], item["batch_id"]
    for counts in result["files"]:
        if not item.get("again"):
            s.found[mapping["name"], counts["name"]] = {n: counts[n] for n in KINDS}
        if counts["error"] is not None and item.get("again"):
            s.stopped = f"rows of an earlier file would be lost with the replaced one: {counts['error']}"
        elif counts["error"] is not None:
            s.errors[mapping["name"], counts["name"]] = counts["error"]
        elif not item.get("again"):
            s.counts[batch_id, counts["name"]] = counts
            s.duplicates[batch_id, counts["name"]] += counts["rows_duplicate"]
    s.candidates += [c | {"again": item.get("again", False)} for c in result["silver"]]
    s.slices += result.get("slices", [])


def _keep_unreplaced(lake: Lake, s: Staged) -> None:
    """Rows stay where the file that was to take their place is refused."""
    files = [(b.source, f) for b in s.unit.batches for f in b.files]
    refused = [f for source, f in files if (source, f["name"]) in s.errors and f.get("replaces")]
    if not refused:
        return
    taken = [f for source, f in files if (source, f["name"]) not in s.errors]
    replaced = {tuple(pair) for f in taken for pair in f.get("replaces", ())}
    s.unit.remove = [pair for pair in s.unit.remove if tuple(pair) in replaced]
    if not s.unit.remove:
        again = [c for c in s.candidates if c["again"]]
        for candidate in again:
            lake.store.forget(candidate["path"])
        s.candidates = [c for c in s.candidates if not c["again"]]


def _settle(lake: Lake, engine: Engine, staged: Sequence[Staged], run_id: str, progress: Progress | None) -> None:
    items: list[tuple[Staged, dict[str, Any]]] = []
    scratch = lake.scratch(run_id)
    for s in staged:
        silver = f"silver.{s.unit.feed}"
        months = {c["month"] for c in s.candidates if not c["again"]}
        if s.unit.remove:
            gone = _months_of(lake, silver, s.unit.remove)
            months |= gone
            for c in s.candidates:
                if c["again"] and c["month"] not in gone:
                    lake.store.forget(c["path"])
        s.months = sorted(months)
        for month in s.months:
            items.append((s, _settle_item(lake, s, silver, month, scratch)))
    results = engine.map("jobs.ingest.settling:settle", [i for _, i in items], progress) if items else []
    waiting = [n for n, r in enumerate(results) if "sought" in r]
    _seek(lake, engine, [(*items[n], results[n]["sought"]) for n in waiting])
    again = engine.map("jobs.ingest.settling:settle", [items[n][1] for n in waiting], None) if waiting else []
    for n, result in zip(waiting, again, strict=True):
        results[n] = result
    for (s, _), result in zip(items, results, strict=True):
        for path in result["rewritten"]:
            lake.store.forget(path)
        for counter, rows in ((s.taken, result["taken"]), (s.duplicates, result["duplicates"])):
            for batch, file, n in rows:
                counter[batch, file] += n


def _seek(lake: Lake, engine: Engine, waiting: Sequence[tuple[Staged, dict[str, Any], str]]) -> None:
    """Give the items whose months wait for versions of other months a file of them, one for all months of a feed.

    Each with the file of its keys, by the name that its task gave it.
    """
    by_feed: dict[str, list[tuple[Staged, dict[str, Any], str]]] = {}
    for s, item, keys in waiting:
        by_feed.setdefault(s.unit.feed, []).append((s, item, keys))
    wanted = []
    for feed, mine in by_feed.items():
        s, first, _ = mine[0]
        silver = f"silver.{feed}"
        wanted.append(
            {
                **first,
                "keys": [keys for _, _, keys in mine],
                "existing": [f.path for f in lake.files(silver, version=s.versions[silver])],
                "staged": lake.store.below(s.folders[silver]),
                "out": str(Path(first["keys"]).with_name(f"{feed}-{uuid.uuid4().hex[:8]}-versions.parquet")),
            }
        )
    found = engine.map("jobs.ingest.elsewhere:seek", wanted, None) if wanted else []
    for mine, result in zip(by_feed.values(), found, strict=True):
        for _, item, _ in mine:
            item["versions"] = result["out"]


def _settle_item(lake: Lake, s: Staged, silver: str, month: int, scratch: Path) -> dict[str, Any]:
    silver_files = lake.files(silver, version=s.versions[silver])
    existing = [f for f in silver_files if f.partition["event_month"] == month]
    others = {f.partition["event_month"] for f in silver_files} | {c["month"] for c in s.candidates}
    return {
        "feed": s.unit.feed,
        "folder": str(s.folders[silver] / partition_path({"event_month": month})),
        "candidates": [c["path"] for c in s.candidates if c["month"] == month and lake.store.is_known(c["path"])],
        "existing": [f.path for f in existing],
        "own": [b.batch_id for b in s.unit.batches],
        "remove": s.unit.remove,
        "rewrite": bool(s.unit.remove),
        "resume_ordinals": s.unit.kind == "replay",
        "keys": str(scratch / f"{s.unit.feed}-{month}-{uuid.uuid4().hex[:8]}.parquet") if others - {month} else None,
        "versions": None,
    }


def _months_of(lake: Lake, table: str, pairs: Sequence[Sequence[str]]) -> set[int]:
    """Months in which rows of [batch, file] pairs stand."""
    found = set()
    with in_memory(threads=1) as con:
        for f in lake.files(table):
            where = " or ".join(f"(_batch_id = {literal(b)} and _file = {literal(n)})" for b, n in pairs)
            [path] = lake.local([f])
            sql = f"select 1 from read_parquet({literal(path)}, hive_partitioning = false) where {where} limit 1"
            if con.execute(sql).fetchall():
                found.add(int(f.partition["event_month"]))
    return found


def _judge(lake: Lake, s: Staged, audit_staged: Audit | None) -> None:
    """All rows are accounted for, and the audit has seen them; what it says a second time is waited for later."""
    unit = s.unit
    s.replace = {table: _replaced(lake, s, table) for table in unit.tables}
    rows, changed = manifest_rows(lake, s)
    for row in [*rows, *changed]:
        if row.lost:
            raise HuaxiangError(
                f"{row.source}, {row.file}: {row.rows_read:,} rows were read but {row.rows_read - row.lost:,} are accounted "
                "for (silver, duplicates, quarantined, not selected); nothing was published: please report this"
            )
    if audit_staged is not None:
        # Bronze and quarantine promise lineage only; judging them was two thirds of the audit's time.
        silver = {t: f for t, f in s.folders.items() if t.startswith("silver.") and lake.is_filled(f)}
        s.confirm = audit_staged(silver)
    unit.prepared = {"rows": [asdict(r) for r in rows], "changed": [asdict(r) for r in changed]}
    unit.prepared["found"] = [[*key, found] for key, found in s.found.items()]
    unit.prepared["errors"] = [[*key, message] for key, message in s.errors.items()]


def _publish(lake: Lake, s: Staged, run_id: str) -> None:
    unit = s.unit
    if s.confirm is not None:
        s.confirm()
    write_intent(lake, unit)
    for table in unit.tables:
        if _is_published(lake, unit, table):
            lake.drop(s.folders[table])
            continue
        publish(
            lake,
            table,
            s.folders[table],
            replace=s.replace[table],
            read_version=s.versions[table],
            run_id=run_id,
            key=unit.key(table),
            metadata={"feed": unit.feed, "batches": [b.batch_id for b in unit.batches]},
        )


def _finish(lake: Lake, unit: Unit, run_id: str) -> UnitResult:
    """The manifest, refused files too, then the intent is done."""
    assert unit.prepared is not None
    rows, changed = ([ManifestRow(**r) for r in unit.prepared[name]] for name in ("rows", "changed"))
    if rows or changed:
        publish_manifest(lake, rows, changed, run_id, unit.key("landing.manifest"))
    found, errors = (
        {(source, file): what for source, file, what in unit.prepared.get(name, [])} for name in ("found", "errors")
    )
    result = UnitResult(unit, rows=rows, errors=errors, found=found)
    _remember(lake, result, run_id)
    return result


def _remember(lake: Lake, result: UnitResult, run_id: str) -> None:
    """Refused files are remembered and leave landing before the intent goes: a killed run forgets none."""
    unit = result.unit
    if unit.kind == "ingest":
        remember(lake, result.attempts, [unit.feed], datetime.fromisoformat(unit.received_at), run_id)
        failed = {(a.source, a.file) for a in result.attempts if a.why is not None}
        landed = [f["landing"] for b in unit.batches for f in b.files if (b.source, f["name"]) in failed]
        drop_landing(lake, landed, manifest(lake, [unit.feed]))
    forget_intent(lake, unit)


def _abandon(lake: Lake, s: Staged, run_id: str) -> UnitResult:
    """Nothing of the unit stays: neither staged files nor the intent."""
    for table, folder in s.folders.items():
        if not _is_published(lake, s.unit, table):
            lake.drop(folder)
    result = UnitResult(s.unit, errors=s.errors, stopped=s.stopped, found=s.found)
    _remember(lake, result, run_id)
    return result


def _replaced(lake: Lake, s: Staged, table: str) -> list[dict[str, object]] | None:
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
    listed = ", ".join(literal(path) for path in lake.local(files))
    names = ", ".join(literal(n) for n in gone)
    target = folder / partition_path({"_batch_id": batch}) / f"kept-{uuid.uuid4().hex[:8]}.parquet"
    writer = None
    with in_memory(threads=1) as con:
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
