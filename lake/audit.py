"""Every staged table is judged before it is published, and all of them together before anybody reads them.

Rows that break a rule were set aside at ingest by our own filter; the audit judges the staged table as a whole, so
that a defect of ours, or of a file written by somebody else, stops here. One SQL statement a table counts what breaks its
contract (lake/statement.py), and every publication waits for it; Great Expectations judges what was counted of all tables
in one batch, in a process that is warmed beside the computing (lake/expectations.py). ``confirm`` waits for its verdict:
silver is not published, and a run not released, without it.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from lake import expectations
from lake.engine import PRELOADED, Engine, begin_worker
from lake.expectations import INDEX, stamp_of
from lake.lake import DataFile, Lake
from lake.publish import Confirm, Days
from lake.spans import span
from lake.statement import figures_of_files, figures_of_frame, for_statements
from lake.store import Store
from schemas.arrow import arrow_schema
from schemas.contracts import Contract, Level, contract
from schemas.errors import AuditError
from schemas.suite import Counted, History, suite

if TYPE_CHECKING:
    import duckdb

KEEP_DOCS = 10
T = TypeVar("T")


@dataclass(frozen=True)
class AuditReport:
    """What was judged: expectations by table, and the warnings. A failure is an AuditError, never a report."""

    expectations: dict[str, int] = field(default_factory=dict)
    warnings: tuple[Counted, ...] = ()


class Auditor:
    """Audits of one run or ingest. ``docs`` is the folder that Data Docs are written to; absent, none are written."""

    def __init__(self, engine: Engine, lake: Lake, docs: Path | None = None, keep_docs: int = KEEP_DOCS):
        self.engine, self.lake, self.docs, self.keep_docs = engine, lake, docs, keep_docs
        self.warnings: list[Counted] = []
        self._name = uuid.uuid4().hex
        self._counted: list[Counted] = []
        self._expected: dict[str, Counter[Level]] = {}
        self._failing: list[str] = []
        self._unwritten = False

    def warm(self) -> None:
        """Start the process beside other work."""
        _process().submit(expectations.begin, self._name)

    def __call__(self, staged: Mapping[str, Path], days: Days | None = None, /) -> Confirm:
        """``judge``, and what waits for the second verdict: what a job takes as its ``audit``."""
        self.judge(staged, days)
        return self.confirm

    def judge(self, staged: Mapping[str, Path], days: Days | None = None) -> AuditReport:
        """Judge staged folders by table, as they would be published.

        ``days`` are those that tables cut by day may hold; their rows are held against history. AuditError names table,
        expectation and what was seen for every ``fail`` that fails; warnings are returned and kept. Values of personal
        fields are not shown.
        """
        below = self.lake.store.below
        return self._refused_or_not(
            [self._count(contract(t), f, below(f), tuple(sorted((days or {}).get(t, ())))) for t, f in staged.items()]
        )

    def published(self, since: Mapping[str, int]) -> AuditReport:
        """Judge what was added to tables since these versions, and was not confirmed: what a run that was killed left."""
        added = {table: [f.path for f in self.lake.added_since(table, version)] for table, version in since.items()}
        return self._refused_or_not(
            [self._count(contract(t), self.lake.path(t), files, ()) for t, files in added.items() if files]
        )

    def confirm(self) -> None:
        """Wait until Great Expectations has judged what was counted since; AuditError where it finds what may not be."""
        self._failing += self._judged()
        if self._failing:
            self._stop(self._failing)

    def write_docs(self) -> list[str]:
        """Data Docs of what was confirmed, or stopped, so far; what of them could not be written, in words."""
        if self.docs is None or not self._unwritten:
            return []
        self._unwritten = False
        with span("audit", "pages"):
            told = _result(_process().submit(expectations.write_pages, self._name, self.docs, self.keep_docs))
            if self._is_shared:
                _share(self.lake.store, self.docs, self.keep_docs)
        return told

    # --- what is counted ---

    @cached_property
    def _duckdb(self) -> duckdb.DuckDBPyConnection:
        return for_statements(self.engine.cores)

    def _count(self, c: Contract, base: Path, files: Sequence[str], days: tuple[date, ...]) -> list[Counted]:
        asked = suite(c, days=days, before=self._before(c, days))
        schema = self.lake.schema(c.name) if c.open else arrow_schema(c)
        self._expected.setdefault(c.name, Counter()).update(e.level for e in asked)
        with span("audit", c.name):
            if self.engine.is_apart:
                return figures_of_frame(c, asked, self.engine.files(self.lake, base, files, schema, c.partitions))
            return figures_of_files(self._duckdb, c, asked, base, self.lake.local(files), schema)

    def _before(self, c: Contract, days: Sequence[date]) -> History | None:
        """Rows of the last day before the one that is staged, or those of a table that is not cut by day; None without any."""
        if c.volume is None or (c.day_partition is not None and len(days) != 1):
            return None
        files = self.lake.files(c.name)
        if c.day_partition is None:
            return History(sum(f.rows for f in files)) if files else None
        last = max((d for f in files if (d := f.partition[c.day_partition]) < days[0]), default=None)
        return None if last is None else History(_rows(files, c.day_partition, last), last)

    def _refused_or_not(self, counted: Sequence[list[Counted]]) -> AuditReport:
        found = [f for figures in counted for f in figures]
        self._counted += found
        warnings = tuple(f for f in found if not f.holds and f.level == "warn")
        self.warnings += warnings
        if failures := [str(f) for f in found if not f.holds and f.level == "fail"]:
            self._stop(failures)
        return AuditReport({figures[0].table: len(figures) for figures in counted}, warnings)

    def _judged(self) -> list[str]:
        """What Great Expectations says of what was counted since it was asked last."""
        if not self._counted:
            return []
        figures, expected = self._counted, self._expected
        self._counted, self._expected, self._unwritten = [], {}, True
        with span("audit", "confirm"):
            return _result(_process().submit(expectations.judge_figures, self._name, figures, expected))

    def _stop(self, failures: Sequence[str]) -> None:
        """AuditError, after the pages that show it."""
        self._judged()
        self.write_docs()
        lines = "\n".join(f"  {f}" for f in failures)
        where = f"; see {self._place(self.docs / INDEX)}" if self.docs else ""
        raise AuditError(f"the audit stopped the publication, what was published before stays{where}\n{lines}")

    @property
    def _is_shared(self) -> bool:
        """Whether the pages belong to a lake that is not on this disk."""
        return self.lake.store.is_remote and self.docs is not None and self.docs.is_relative_to(self.lake.root)

    def _place(self, page: Path) -> str:
        return self.lake.store.url(page) if self._is_shared else str(page)


def audit(engine: Engine, lake: Lake, staged: Mapping[str, Path], docs: Path | None = None) -> AuditReport:
    """One audit of staged folders by table, with its Data Docs; AuditError where a ``fail`` fails."""
    auditor = Auditor(engine, lake, docs)
    report = auditor.judge(staged)
    auditor.confirm()
    auditor.write_docs()
    return report


@cache
def _process() -> ProcessPoolExecutor:
    """One process for all audits of this one: what it imports, it imports once."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return ProcessPoolExecutor(1, context, initializer=begin_worker)


def _result(told: Future[T]) -> T:
    try:
        return told.result()
    except BrokenProcessPool:
        _process.cache_clear()
        raise AuditError(
            "the process of the audit was ended from outside, so nothing is confirmed; if the system's log says that "
            "memory ran out, give the machine more, and run again"
        ) from None


def _rows(files: Sequence[DataFile], cut_by: str, day: date) -> int:
    return sum(f.rows for f in files if f.partition[cut_by] == day)


def _share(store: Store, docs: Path, keep: int) -> None:
    """Put the pages into the store, and take those away that are beyond ``keep``, whoever wrote them."""
    start = f"{store.name(docs)}/"
    there = set(store.names(start))
    made = [p for p in docs.rglob("*") if p.is_file()]
    store.share(str(p) for p in made if store.name(p) not in there and p.name != INDEX)
    for page in (p for p in made if p.name == INDEX):
        store.replace(store.name(page), page.read_bytes())
    indices = sorted(n for n in there | {store.name(p) for p in made} if n.startswith(f"{start}index-"))
    kept = {stamp_of(n) for n in indices[-keep:]}
    store.delete(n for n in there if (stamp := stamp_of(n)) is not None and stamp not in kept)
