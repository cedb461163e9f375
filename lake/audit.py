"""Every staged table is judged before it is published, and once more by Great Expectations before anybody reads it.

Rows that break a rule were set aside at ingest by our own filter; the audit judges the staged table as a whole, so
that a defect of ours, or of a file written by somebody else, stops here. First by one SQL statement a table
(lake/statement.py), which every publication waits for; then by Great Expectations in a process of its own
(lake/expectations.py), beside the computing. ``confirm`` waits for its verdict: silver is not published, and a run not
released, without it. Where files are not this machine's, Great Expectations alone judges them, through the engine, before
each publication.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

from lake import expectations
from lake.engine import PRELOADED, Engine, begin_worker
from lake.expectations import INDEX, Asked, Judge, stamp_of
from lake.lake import DataFile, Lake
from lake.publish import Confirm, Days
from lake.statement import breaches
from lake.store import Store
from schemas.arrow import arrow_schema
from schemas.contracts import Contract, contract
from schemas.errors import AuditError
from schemas.suite import Breach, History

KEEP_DOCS = 10


@dataclass(frozen=True)
class AuditReport:
    """What was judged: expectations by table, and the warnings. A failure is an AuditError, never a report."""

    expectations: dict[str, int] = field(default_factory=dict)
    warnings: tuple[Breach, ...] = ()


class Auditor:
    """Audits of one run or ingest. ``docs`` is the folder that Data Docs are written to; absent, none are written."""

    def __init__(self, engine: Engine, lake: Lake, docs: Path | None = None, keep_docs: int = KEEP_DOCS):
        self.engine, self.lake, self.docs, self.keep_docs = engine, lake, docs, keep_docs
        self.warnings: list[Breach] = []
        self._name = uuid.uuid4().hex
        self._judge: Judge | None = None
        self._given: list[tuple[Asked, Future[list[Breach]]]] = []
        self._unwritten = 0

    def warm(self) -> None:
        """Start the process beside other work."""
        if not self.engine.is_apart:
            _process().submit(expectations.begin, self._name)

    def __call__(self, staged: Mapping[str, Path], days: Days | None = None, /) -> Confirm:
        """``judge``, and what waits for these tables to be confirmed: what a job takes as its ``audit``."""
        self.judge(staged, days)
        return partial(self.confirm, tuple(staged))

    def judge(self, staged: Mapping[str, Path], days: Days | None = None) -> AuditReport:
        """Judge staged folders by table, as they would be published.

        ``days`` are those that tables cut by day may hold; their rows are held against history. AuditError names table,
        expectation and what was seen for every ``fail`` that fails; warnings are returned and kept. Values of personal
        fields are not shown.
        """
        return self._ask([self._staged(table, folder, days or {}) for table, folder in staged.items()])

    def published(self, since: Mapping[str, int]) -> AuditReport:
        """Judge what was added to tables since these versions, and was not confirmed: what a run that was killed left."""
        asked = []
        for table, version in since.items():
            if files := self.lake.added_since(table, version):
                asked.append(self._asked(contract(table), self.lake.path(table), (f.path for f in files), days=()))
        return self._ask(asked)

    def confirm(self, tables: Iterable[str] | None = None) -> None:
        """Wait until Great Expectations has judged what was given to it, of ``tables`` only if they are named.

        AuditError where it found a ``fail`` that the statement did not.
        """
        wanted = None if tables is None else set(tables)
        mine = [g for g in self._given if wanted is None or g[0].table in wanted]
        self._given = [g for g in self._given if g not in mine]
        found = [b for _, told in mine for b in _result(told)]
        self.warnings += [b for b in found if b.level == "warn" and b not in self.warnings]
        self._refuse(found)

    def write_docs(self) -> list[str]:
        """Data Docs of every table judged so far; what of them could not be written, in words."""
        if self.docs is None or not self._unwritten:
            return []
        self._unwritten = 0
        if self._judge is not None:
            told = self._judge.write_docs(self.docs, self.keep_docs)
        else:
            told = _process().submit(expectations.write_pages, self.docs, self.keep_docs).result()
        if self._is_shared:
            _share(self.lake.store, self.docs, self.keep_docs)
        return told

    # --- what is asked ---

    def _staged(self, table: str, folder: Path, days: Days) -> Asked:
        c, own = contract(table), tuple(sorted(days.get(table, ())))
        return self._asked(c, folder, self.lake.store.below(folder), own)

    def _asked(self, c: Contract, base: Path, files: Iterable[str], days: tuple[date, ...]) -> Asked:
        there = tuple(files)
        if not self.engine.is_apart:
            there = tuple(self.lake.local(there))
        schema = self.lake.schema(c.name) if c.open else arrow_schema(c)
        return Asked(c.name, base, there, schema, days, self._before(c, days))

    def _before(self, c: Contract, days: Sequence[date]) -> History | None:
        """Rows of the last day before the one that is staged, or those of a table that is not cut by day; None without any."""
        if c.volume is None or (c.day_partition is not None and len(days) != 1):
            return None
        files = self.lake.files(c.name)
        if c.day_partition is None:
            return History(sum(f.rows for f in files)) if files else None
        last = max((d for f in files if (d := f.partition[c.day_partition]) < days[0]), default=None)
        return None if last is None else History(_rows(files, c.day_partition, last), last)

    def _ask(self, asked: Sequence[Asked]) -> AuditReport:
        """What stops a publication, or warns; where a statement says so, Great Expectations is on its way."""
        self._unwritten += len(asked)
        judge = self._by_engine if self.engine.is_apart else self._by_statement
        found = [b for one in asked for b in judge(one)]
        warnings = tuple(b for b in found if b.level == "warn")
        self.warnings += warnings
        self._refuse(found)
        return AuditReport({one.table: len(one.suite) for one in asked}, warnings)

    def _by_statement(self, asked: Asked) -> list[Breach]:
        self._given.append((asked, _process().submit(expectations.judge_files, self._name, asked)))
        c = contract(asked.table)
        return breaches(c, asked.suite, asked.base, asked.files, asked.schema, self.engine.cores)

    def _by_engine(self, asked: Asked) -> list[Breach]:
        self._judge = self._judge or Judge(self.engine.spark)
        partitions = contract(asked.table).partitions
        return self._judge.judge(asked, self.engine.files(asked.base, asked.files, asked.schema, partitions))

    def _refuse(self, found: Sequence[Breach]) -> None:
        failures = [b for b in found if b.level == "fail"]
        if not failures:
            return
        self.write_docs()
        lines = "\n".join(f"  {b}" for b in failures)
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


def _result(told: Future[list[Breach]]) -> list[Breach]:
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
