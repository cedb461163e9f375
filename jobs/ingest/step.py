"""``huaxiang ingest``: new files of the inbox into landing, bronze, quarantine and silver; nothing is taken twice.

The files of a feed are one unit (``jobs.ingest.units``). Files that cannot be read are named and left out; the other files and
feeds go on. A killed run is gone on with first: its files, its mappings and its time of receipt stand in its intent.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.sources import Mapping, warnings
from jobs.ingest.execution import execute
from jobs.ingest.findings import KINDS, Finding
from jobs.ingest.landing import Arrival, clear_parts, drop_landing, land
from jobs.ingest.report import ROW_COUNTS, FileReport, IngestReport
from jobs.ingest.units import Batch, Unit, UnitResult, read_intents, write_intent
from lake import denomination, journal
from lake.budget import in_memory
from lake.engine import Engine
from lake.lake import Lake
from lake.locks import lock
from lake.manifest import ManifestRow, manifest
from lake.measured import measuring, remember_steps
from lake.publish import Audit
from lake.refused import Attempt, is_dismissed, is_named, reason_of, remember, since
from project.inbox import matches, unfinished, unmatched, without_files
from schemas.configuration import nearest
from schemas.errors import HuaxiangError, InputError, NotThereError
from schemas.quarantine import literal

if TYPE_CHECKING:
    from project.folder import Project

Progress = Callable[[int, int], None]


def ingest(
    project: Project,
    engine: Engine,
    *,
    feeds: Sequence[str] | None = None,
    received_at: datetime | None = None,
    replace: bool = False,
    append: bool = False,
    again: str | None = None,
    progress: Progress | None = None,
    audit_staged: Audit | None = None,
) -> IngestReport:
    """Take new files. ``received_at`` is when they were learned (a killed run keeps its own).

    A file whose name was taken with other content is refused unless ``replace`` (its rows take the place of the older
    file's) or ``append`` (they are further rows). ``again`` is a pattern of names below the inbox: such files are read
    anew through the mapping as it is now, and their rows replaced, though they were taken before.
    ``audit_staged`` sees {table: staged folder} of a feed before it is published and raises AuditError to stop it.
    LockedError if a feed is being written by another process.
    """
    if replace and append:
        raise HuaxiangError("--replace and --append exclude each other; say one")
    mappings = _chosen(project.sources, feeds)
    received_at = _with_zone(received_at)
    report = IngestReport(received_at)
    lake, run_id = project.lake, f"ingest-{uuid.uuid4().hex[:12]}"
    with _locked(lake, mappings), journal.kept(lake, run_id), _noted(lake, engine, run_id, report):
        report.notes += denomination.keep(lake, project.currency)
        _recover(lake, engine, mappings, run_id, report, audit_staged)
        inbox = project.waiting
        found = matches(inbox, mappings)
        report.unmatched = unmatched(inbox, project.sources)
        report.unfinished = unfinished(inbox)
        before = manifest(lake, {m.feed for m in mappings})
        report.without_files = without_files(mappings, found, before)
        arrivals = []
        for (mapping, waiting), landed in zip(found, land(lake, inbox, found), strict=True):
            if isinstance(landed, InputError):
                name = waiting.name
                if is_dismissed(before, mapping.name, name, ""):
                    report.files.append(FileReport(mapping.feed, mapping.name, name, "dismissed"))
                else:
                    _fail(report, Attempt(mapping.feed, mapping.name, name, why=str(landed)))
            else:
                arrivals.append(landed)
        if again is not None and not any(is_named(d.name, again) for d in arrivals):
            raise NotThereError(f"--again: no file of the inbox that a mapping names matches {again!r}")
        how = _How(replace, append, again)
        units = _units(project, mappings, arrivals, received_at, how, report)
        named = {m.feed for m in mappings}
        # What is refused without a try is remembered before the others are: the run may be killed among them.
        remember(lake, report.attempts, named, received_at, run_id)
        _do(lake, engine, units, run_id, report, progress, audit_staged)
        _fail_twins(report)
        report.leave_out_earlier_failures()
        tried = remember(lake, report.attempts, named, received_at, run_id)
        report.waiting = [
            f"{r.file}: was refused on {since(r):%Y-%m-%d} and is still missing ({reason_of(r)})" for r in tried
        ]
    report.notes += warnings(project.sources, {f.source for f in report.of_state("taken")})
    return report


def replay(
    project: Project,
    engine: Engine,
    *,
    feeds: Sequence[str] | None = None,
    received_at: datetime | None = None,
    progress: Progress | None = None,
    audit_staged: Audit | None = None,
) -> IngestReport:
    """Take rows that wait in quarantine through the mappings as they are now; what still fails stays there.

    Rows keep the file and row number that they came with; they are learned at ``received_at``. Rows that could not be
    split into columns stay: mend their file and deliver it with ``--replace``.
    """
    mappings = _chosen(project.sources, feeds)
    received_at = _with_zone(received_at)
    report = IngestReport(received_at)
    lake, run_id = project.lake, f"replay-{uuid.uuid4().hex[:12]}"
    with _locked(lake, mappings), journal.kept(lake, run_id), _noted(lake, engine, run_id, report):
        report.notes += denomination.keep(lake, project.currency)
        _recover(lake, engine, mappings, run_id, report, audit_staged)
        units = []
        for feed in dict.fromkeys(m.feed for m in mappings):
            batches = [b for m in mappings if m.feed == feed if (b := _replay_batch(lake, m, received_at))]
            if batches:
                units.append(_unit(project, feed, "replay", received_at, batches))
        _do(lake, engine, units, run_id, report, progress, audit_staged)
    report.notes += warnings(project.sources, {f.source for f in report.of_state("taken")})
    return report


@dataclass(frozen=True)
class _How:
    """What is done with a file of a known name, and which files are read anew."""

    replace: bool
    append: bool
    again: str | None


def _with_zone(received_at: datetime | None) -> datetime:
    found = received_at or datetime.now(UTC)
    if found.tzinfo is None:
        raise HuaxiangError(f"the time of receipt {found.isoformat()} has no zone; add one, such as +08:00")
    return found.astimezone(UTC)


def _chosen(mappings: Sequence[Mapping], feeds: Sequence[str] | None) -> list[Mapping]:
    if feeds is None:
        return list(mappings)
    known = list(dict.fromkeys(m.feed for m in mappings))
    for feed in feeds:
        if feed not in known:
            raise NotThereError(f"no mapping in sources/ is for feed {feed!r}; {nearest(feed, known)}")
    return [m for m in mappings if m.feed in feeds]


@contextmanager
def _noted(lake: Lake, engine: Engine, run_id: str, report: IngestReport) -> Iterator[None]:
    """A row in ``ops.runs`` of what taking took, if anything was taken. Feeds are taken side by side: it is one row for all."""
    name = run_id.split("-")[0]
    with measuring(name, engine.spills) as m:
        yield
    files = report.of_state("taken")
    if files:
        rows = {"rows_in": "rows_read", "rows_out": "rows_silver", "rows_quarantined": "rows_quarantined"}
        counts = {column: sum(getattr(f, n) for f in files) for column, n in rows.items()}
        remember_steps(lake, run_id, [{"step": name, "engine": engine.name, "inputs": "{}", **counts, **m.columns}])


def _locked(lake: Lake, mappings: Iterable[Mapping]) -> ExitStack:
    held = ExitStack()
    for feed in sorted({m.feed for m in mappings}):
        try:
            held.enter_context(lock(lake, f"silver.{feed}"))
        except HuaxiangError:
            held.close()
            raise
    return held


def _recover(
    lake: Lake,
    engine: Engine,
    mappings: Sequence[Mapping],
    run_id: str,
    report: IngestReport,
    audit_staged: Audit | None,
) -> None:
    """Go on with what a killed run began, then clear away what it left."""
    left = read_intents(lake, sorted({m.feed for m in mappings}))
    report.recovered = [u.feed for u in left]
    _do(lake, engine, left, run_id, report, None, audit_staged)
    journal.recover(lake)
    lake.store.trim()
    clear_parts(lake, {m.feed for m in mappings})


def _do(
    lake: Lake,
    engine: Engine,
    units: Sequence[Unit],
    run_id: str,
    report: IngestReport,
    progress: Progress | None,
    audit_staged: Audit | None,
) -> None:
    if not units:
        return
    for result in execute(lake, engine, units, run_id, progress=progress, audit_staged=audit_staged):
        _report(result, report)


def _report(result: UnitResult, report: IngestReport) -> None:
    feed = result.unit.feed
    for row in result.rows:
        counts = {n: getattr(row, n) for n in ROW_COUNTS}
        found = _found(result, row.source, row.file)
        report.files.append(FileReport(feed, row.source, row.file, "taken", **counts, **found))
    for (source, name), message in result.errors.items():
        if (source, name) in result.still_taken:
            message += "; it was not read anew, its rows taken before count as they did"
        found = _found(result, source, name)
        report.files.append(FileReport(feed, source, name, "failed", message=message, **found))
    if result.stopped is not None:
        report.stopped[feed] = result.stopped
    report.attempts += result.attempts


def _fail(report: IngestReport, a: Attempt) -> None:
    """A file that is not even tried, with its message, in the report and among what is remembered."""
    report.files.append(FileReport(a.feed, a.source, a.file, "failed", message=a.why))
    report.attempts.append(a)


def _fail_twins(report: IngestReport) -> None:
    """Files that are equal to one that came with them share its fate."""
    why = {(a.source, a.checksum): a for a in report.attempts if a.why is not None}
    for f, checksum in report.twins:
        if (first := why.get((f.source, checksum))) is not None:
            f.state, f.message = (
                "failed",
                f"{f.file}: has the content of {first.file}, which was not taken ({first.why})",
            )
            report.attempts.append(changed(first, file=f.file, why=f.message))


def _found(result: UnitResult, source: str, file: str) -> dict[str, Any]:
    found = result.found.get((source, file), {})
    return {kind: [Finding(**f) for f in found.get(kind, [])] for kind in KINDS}


def _units(
    project: Project,
    mappings: Sequence[Mapping],
    arrivals: Sequence[Arrival],
    received_at: datetime,
    how: _How,
    report: IngestReport,
) -> list[Unit]:
    """One unit a feed of what is new; its intent is written. Known and refused files go to the report."""
    lake = project.lake
    units: list[Unit] = []
    rows = manifest(lake, {m.feed for m in mappings})
    for feed in dict.fromkeys(m.feed for m in mappings):
        remove: list[list[str]] = []
        batches = []
        for mapping in (m for m in mappings if m.feed == feed):
            mine = [r for r in rows if r.source == mapping.name and r.feed == feed]
            files: list[dict[str, Any]] = []
            for d in (d for d in arrivals if d.source == mapping.name and d.feed == feed):
                older = _judge(d, mine, files, how, report)
                if older is None:
                    continue
                replaced = [[r.batch_id, r.file] for r in older]
                file = {"name": d.name, "landing": d.landing, "checksum": d.checksum, "bytes": d.bytes}
                files.append(
                    file | {"replaces": replaced, "taken_before": any(r.checksum == d.checksum for r in older)}
                )
                remove += replaced
            if files:
                count = sum(r.state in ("taken", "replaced") for r in mine)
                seed = json.dumps([mapping.name, count, received_at.isoformat(), [f["checksum"] for f in files]])
                batches.append(Batch(_digest(seed), mapping.name, _dumped(mapping), files))
        if batches:
            unit = _unit(project, feed, "ingest", received_at, batches)
            unit.remove = [list(pair) for pair in dict.fromkeys((b, f) for b, f in remove)]
            if unit.remove:
                unit.again = _to_parse_again(mappings, rows, unit.remove, feed)
            write_intent(lake, unit)
            units.append(unit)
    wanted = {f["landing"] for u in units for b in u.batches for f in b.files}
    drop_landing(lake, {d.landing for d in arrivals} - wanted, rows)
    return units


def _judge(
    d: Arrival, rows: Sequence[ManifestRow], files: Sequence[dict[str, Any]], how: _How, report: IngestReport
) -> list[ManifestRow] | None:
    """Rows of the manifest that the file replaces (none for a new name); None if it is known or refused."""
    taken = [r for r in rows if r.state == "taken"]
    same = [r for r in taken if r.checksum == d.checksum]
    twice = any(f["checksum"] == d.checksum for f in files)
    if same and not twice and how.again is not None and is_named(d.name, how.again):
        return same
    if same or twice:
        known = FileReport(d.feed, d.source, d.name, "known")
        report.files.append(known)
        if same:
            report.attempts.append(Attempt(d.feed, d.source, d.name, d.checksum))
        else:
            report.twins.append((known, d.checksum))
        return None
    if is_dismissed(rows, d.source, d.name, d.checksum) and not (how.again and is_named(d.name, how.again)):
        report.files.append(FileReport(d.feed, d.source, d.name, "dismissed"))
        return None
    older = [r for r in taken if r.file == d.name]
    if older and not (how.replace or how.append):
        when = datetime.fromtimestamp(older[-1].ingested_us / 1e6, UTC)
        message = (
            f"{d.name}: a file of this name was taken on {when:%Y-%m-%d %H:%M} UTC with other content; "
            f"run `huaxiang ingest {d.feed} --replace` if this one is right instead of it, or "
            f"`huaxiang ingest {d.feed} --append` if it holds further rows"
        )
        _fail(report, Attempt(d.feed, d.source, d.name, d.checksum, d.bytes, message))
        return None
    return older if how.replace else []


def _to_parse_again(
    mappings: Sequence[Mapping], rows: Sequence[ManifestRow], remove: Sequence[Sequence[str]], feed: str
) -> list[Batch]:
    """Files that stay and of which rows were dropped as duplicates, maybe of rows that are to go now."""
    gone = {(b, f) for b, f in remove}
    found: dict[tuple[str, int], Batch] = {}
    by_name = {m.name: m for m in mappings}
    for r in rows:
        if r.feed != feed or r.state != "taken" or not r.rows_duplicate or (r.batch_id, r.file) in gone:
            continue
        if r.source in by_name:
            key = (r.batch_id, r.ingested_us)
            batch = found.setdefault(key, Batch(r.batch_id, r.source, _dumped(by_name[r.source]), []))
            stamp = datetime.fromtimestamp(r.ingested_us / 1e6, UTC).isoformat()
            batch.files.append({"name": r.file, "landing": r.path, "bytes": r.bytes, "received_at": stamp})
    return list(found.values())


def _unit(project: Project, feed: str, kind: Any, received_at: datetime, batches: list[Batch]) -> Unit:
    return Unit(
        feed=feed,
        kind=kind,
        received_at=received_at.isoformat(),
        zone=project.zone,
        currency=project.currency,
        guest_ids=list(project.guest_ids),
        batches=batches,
        salt_secret=project.settings.secrets.id_salt,
    )


def _replay_batch(lake: Lake, mapping: Mapping, received_at: datetime) -> Batch | None:
    """The waiting rows of a mapping, by the batch and file that they came with."""
    paths = lake.local(lake.files(f"quarantine.{mapping.feed}"))
    if not paths:
        return None
    listed = ", ".join(literal(p) for p in paths)
    with in_memory(threads=1) as con:
        waiting = con.execute(
            f"select distinct _batch_id, _file from read_parquet([{listed}], hive_partitioning = true, "
            "hive_types = {'_batch_id': varchar}) where source = ? and replayed_batch_id is null order by all",
            [mapping.name],
        ).fetchall()
    if not waiting:
        return None
    rows = {(r.batch_id, r.file): r for r in manifest(lake, [mapping.feed])}
    files = []
    for batch, name in waiting:
        if row := rows.get((batch, name)):
            files.append(
                {
                    "name": name,
                    "origin": batch,
                    "landing": row.path,
                    "checksum": row.checksum,
                    "bytes": row.bytes,
                    "columns": row.columns,
                }
            )
    seed = json.dumps(["replay", mapping.name, received_at.isoformat(), sorted(waiting), len(rows)])
    return Batch(_digest(seed), mapping.name, _dumped(mapping), files) if files else None


def _dumped(mapping: Mapping) -> dict[str, Any]:
    return mapping.model_dump(mode="json", by_alias=True)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
