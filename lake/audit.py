"""Great Expectations judges what is staged, on either engine, before it is published; and writes Data Docs.

Rows that break a rule were set aside at ingest by our own filter; the audit judges the staged table as a whole, so
that a defect of ours, or of a file written by somebody else, stops here. One process imports Great Expectations once
(5 to 10 seconds: ``Auditor.warm`` does it beside other work) and writes its Data Docs once, at the end.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

from lake.engine import Engine
from lake.lake import Lake
from lake.publish import Days
from lake.store import Store
from schemas.contracts import Contract, Level, contract
from schemas.errors import AuditError
from schemas.suite import Expectation, History, suite

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

SAMPLES = 3
TAKEN_ALONG = ("rfc3987_syntax", "sqlalchemy")
"""Modules that Great Expectations imports where others brought them, though frames need none: a third of its import."""
KEEP_DOCS = 10
STAMP = "%Y%m%dT%H%M%S.%fZ"
"""How Great Expectations names the folder of an audit's pages: by its time."""
_STAMPED = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
INDEX = "index.html"


@dataclass(frozen=True)
class Breach:
    """An expectation that does not hold: where, what was expected, what was seen instead."""

    table: str
    level: Level
    expected: str
    observed: str

    def __str__(self) -> str:
        return f"{self.table}: {self.expected}: {self.observed}"


@dataclass(frozen=True)
class AuditReport:
    """What was judged: expectations by table, and the warnings. A failure is an AuditError, never a report."""

    expectations: dict[str, int] = field(default_factory=dict)
    warnings: tuple[Breach, ...] = ()


class Auditor:
    """Audits of one process. ``docs`` is the folder that Data Docs are written to; absent, none are written."""

    def __init__(self, engine: Engine, lake: Lake, docs: Path | None = None, keep_docs: int = KEEP_DOCS):
        self.engine, self.lake, self.docs, self.keep_docs = engine, lake, docs, keep_docs
        self.warnings: list[Breach] = []
        self._results: list[tuple[str, str, Any]] = []
        self._batches: Any = None
        self._context: Any = None

    def warm(self) -> None:
        """Start the import beside other work."""
        Thread(target=_great_expectations, daemon=True).start()

    def __call__(self, staged: Mapping[str, Path], days: Days | None = None, /) -> None:
        """Judge staged folders by table, as they would be published: what a job takes as its ``audit``."""
        self.judge(self.frames(staged), days)

    def frames(self, staged: Mapping[str, Path]) -> dict[str, DataFrame]:
        """Staged folders as the tables would show them."""
        return {table: self.engine.staged(self.lake, table, folder) for table, folder in staged.items()}

    def judge(self, staged: Mapping[str, DataFrame], days: Days | None = None) -> AuditReport:
        """Judge frames by table. ``days`` are those that tables cut by day may hold; their rows are held against history.

        AuditError names table, expectation and what was seen for every ``fail`` that fails; warnings are returned
        and kept. Values of personal fields are not shown.
        """
        judged: dict[str, int] = {}
        found: list[Breach] = []
        for table, frame in staged.items():
            own = sorted((days or {}).get(table, ()))
            expectations = suite(contract(table), days=own, before=self._before(contract(table), own))
            judged[table] = len(expectations)
            found += self._judge(contract(table), frame, expectations, own)
        warnings = tuple(f for f in found if f.level == "warn")
        self.warnings += warnings
        if failures := [f for f in found if f.level == "fail"]:
            self.write_docs()
            lines = "\n".join(f"  {f}" for f in failures)
            where = f"; see {self._place(self.docs / INDEX)}" if self.docs else ""
            raise AuditError(f"the audit stopped the publication, what was published before stays{where}\n{lines}")
        return AuditReport(judged, warnings)

    def _before(self, c: Contract, days: Sequence[date]) -> History | None:
        """Rows of the last day before the one that is staged, or those of a table that is not cut by day; None without any."""
        if c.volume is None or (c.day_partition is not None and len(days) != 1):
            return None
        files = self.lake.files(c.name)
        if c.day_partition is None:
            return History(sum(f.rows for f in files)) if files else None
        last = max((d for f in files if (d := f.partition[c.day_partition]) < days[0]), default=None)
        return (
            None if last is None else History(sum(f.rows for f in files if f.partition[c.day_partition] == last), last)
        )

    def _judge(
        self, c: Contract, frame: DataFrame, expectations: list[Expectation], days: Sequence[date]
    ) -> list[Breach]:
        """Findings of one table: all expectations at once, then those that fail again, for what was seen."""
        gx = _great_expectations()
        batch = self._batch(frame)
        result = batch.validate(_gx_suite(gx, c, expectations), result_format="BOOLEAN_ONLY")
        found = []
        for i, one in enumerate(result.results):
            expectation = expectations[one.expectation_config.meta["position"]]
            if not one.success and not one.exception_info.get("raised_exception"):
                # Only now, and without values of personal fields: a summary costs a query per expectation.
                samples = 0 if _is_personal(c, expectation) else SAMPLES
                wanted = {"result_format": "SUMMARY", "partial_unexpected_count": samples}
                one = batch.validate(_gx_suite(gx, c, [expectation]), result_format=wanted).results[0]
                result.results[i] = one
            if not one.success:
                found.append(Breach(c.name, expectation.level, expectation.says, _observed(one)))
        self._results.append((c.name, "-".join(str(d) for d in days) or "undated", result))
        return found

    def _batch(self, frame: DataFrame) -> Any:
        if self._batches is None:
            self._context = _great_expectations().get_context(mode="ephemeral")
            self._context.variables.progress_bars = {"globally": False, "metric_calculations": False}
            source = self._context.data_sources.add_spark("staged", persist=False)
            # Or it would take whichever session was made last, which in tests may be the other engine's.
            source.get_execution_engine().spark = self.engine.spark
            asset = source.add_dataframe_asset("staged")
            self._batches = asset.add_batch_definition_whole_dataframe("staged")
        return self._batches.get_batch(batch_parameters={"dataframe": frame})

    def write_docs(self) -> Path | None:
        """Data Docs of every table judged so far; the index page, or None where nothing was judged or no folder given."""
        if self.docs is None or not self._results:
            return None
        from great_expectations.core.run_identifier import RunIdentifier
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        context = self._context
        self.docs.mkdir(parents=True, exist_ok=True)
        at = datetime.now(UTC)
        for n, (table, name, result) in enumerate(self._results):
            key = ValidationResultIdentifier(
                expectation_suite_identifier=ExpectationSuiteIdentifier(table),
                run_id=RunIdentifier(run_name=name, run_time=at),
                # the same table may be judged more than once, such as a feed's two months
                batch_identifier=f"{table}-{n}",
            )
            context.validation_results_store.set(key, result)
        self._results = []
        stamp = f"{at:{STAMP}}"
        with TemporaryDirectory(prefix="new-", dir=self.docs) as built:
            # Built beside: it empties the folder that it builds in, and with it the pages of earlier audits.
            context.add_data_docs_site(stamp, _site(Path(built)))
            context.build_data_docs(site_names=[stamp])
            _add_pages(Path(built), self.docs, stamp)
        _keep_newest(self.docs, self.keep_docs)
        if self._is_shared:
            _share(self.lake.store, self.docs, self.keep_docs)
        return self.docs / INDEX

    @property
    def _is_shared(self) -> bool:
        """Whether the pages belong to a lake that is not on this disk."""
        return self.lake.store.is_remote and self.docs is not None and self.docs.is_relative_to(self.lake.root)

    def _place(self, page: Path) -> str:
        return self.lake.store.url(page) if self._is_shared else str(page)


def _share(store: Store, docs: Path, keep: int) -> None:
    """Put the pages into the store, and take those away that are beyond ``keep``, whoever wrote them."""
    start = f"{store.name(docs)}/"
    there = set(store.names(start))
    made = [p for p in docs.rglob("*") if p.is_file()]
    store.share(str(p) for p in made if store.name(p) not in there and p.name != INDEX)
    for page in (p for p in made if p.name == INDEX):
        store.replace(store.name(page), page.read_bytes())
    indices = sorted(n for n in there | {store.name(p) for p in made} if n.startswith(f"{start}index-"))
    kept = {Path(n).stem.removeprefix("index-") for n in indices[-keep:]}
    stamps = ((n, _STAMPED.search(n)) for n in there)
    store.delete(n for n, stamp in stamps if stamp is not None and stamp.group() not in kept)


def _add_pages(built: Path, docs: Path, stamp: str) -> None:
    """Pages of one audit beside those of earlier ones; what they share, 4 MB of fonts and images, is there once."""
    if not (docs / "static").exists():
        shutil.move(built / "static", docs / "static")
    shutil.copytree(built / "validations", docs / "validations", dirs_exist_ok=True)
    for name in (f"index-{stamp}.html", INDEX):
        shutil.copyfile(built / INDEX, docs / name)


def _keep_newest(docs: Path, keep: int) -> None:
    """Of each audit its index (``index-STAMP.html``) and its pages are there for the newest ``keep`` only."""
    indices = sorted(docs.glob("index-*.html"))
    for index in indices[:-keep]:
        index.unlink()
    kept = {path.stem.removeprefix("index-") for path in indices[-keep:]}
    for folder in [p for p in (docs / "validations").rglob("*") if p.is_dir() and _STAMPED.fullmatch(p.name)]:
        if folder.name not in kept:
            shutil.rmtree(folder)
            for above in folder.parents:
                if above == docs or any(above.iterdir()):
                    break
                above.rmdir()


def audit(engine: Engine, lake: Lake, staged: Mapping[str, Path], docs: Path | None = None) -> AuditReport:
    """One audit of staged folders by table, with its Data Docs; AuditError where a ``fail`` fails."""
    auditor = Auditor(engine, lake, docs)
    report = auditor.judge(auditor.frames(staged))
    auditor.write_docs()
    return report


def _great_expectations() -> Any:
    # It reports its use to its makers unless this is set before the import.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    hidden = [name for name in TAKEN_ALONG if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: there is no such module
    try:
        import great_expectations
    finally:
        for name in hidden:
            del sys.modules[name]
    return great_expectations


def _gx_suite(gx: Any, c: Contract, expectations: list[Expectation]) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    made = gx.ExpectationSuite(name=c.name)
    for position, e in enumerate(expectations):
        made.expectations.append(
            ExpectationConfiguration(
                type=e.type,
                kwargs=e.kwargs,
                severity="critical" if e.level == "fail" else "warning",
                description=e.says,
                meta={"position": position, "level": e.level},
            ).to_domain_obj()
        )
    return made


def _is_personal(c: Contract, e: Expectation) -> bool:
    return any(c.column(name).field.is_personal for name in e.columns)


def _observed(result: Any) -> str:
    """What was seen instead, in words."""
    if result.exception_info.get("raised_exception"):
        return f"could not be judged: {result.exception_info['exception_message']}"
    seen = result.result
    if "unexpected_count" in seen:
        text = f"{seen['unexpected_count']:,} of {seen['element_count']:,} rows break it"
        samples = [str(v) for v in seen.get("partial_unexpected_list", ())]
        return text + (f" ({', '.join(samples)})" if samples else "")
    if "details" in seen and "mismatched" in seen["details"]:
        return "; ".join(f"{k} {', '.join(v)}" for k, v in seen["details"]["mismatched"].items())
    return f"{seen.get('observed_value')} seen"


def _site(folder: Path) -> dict[str, Any]:
    return {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
