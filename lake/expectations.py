"""Great Expectations, in a process of its own: it judges a second time, beside the computing, and writes Data Docs.

It asks much of Python (a quarter of a second a table, 3 to 10 seconds to import) and little of the machine. Its process
has an engine of its own where files are this machine's; elsewhere the frames are the run's engine's, and it judges in the
run's process.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from lake.engine import EmbeddedEngine
from schemas.contracts import Contract, contract
from schemas.suite import Breach, Expectation, History, suite

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SAMPLES = 3
TAKEN_ALONG = ("rfc3987_syntax", "sqlalchemy")
"""Modules that Great Expectations imports where others brought them, though frames need none: a third of its import."""
STAMP = "%Y%m%dT%H%M%S.%fZ"
"""How Great Expectations names the folder of an audit's pages: by its time."""
_STAMPED = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
INDEX = "index.html"
MEMORY_BYTES = 1 << 30


@dataclass(frozen=True)
class Asked:
    """Files of a table that are to be judged: below ``base``, in folders that name their partitions.

    ``days`` and ``before`` are those of ``schemas.suite.suite``.
    """

    table: str
    base: Path
    files: tuple[str, ...]
    schema: pa.Schema
    days: tuple[date, ...] = ()
    before: History | None = None

    @property
    def suite(self) -> list[Expectation]:
        return suite(contract(self.table), days=self.days, before=self.before)


class Judge:
    """Great Expectations over frames of one engine, and the pages of what it judged."""

    def __init__(self, spark: SparkSession):
        self.spark = spark
        self._results: list[tuple[str, str, Any]] = []
        self._batches: Any = None
        self._context: Any = None

    def judge(self, asked: Asked, frame: DataFrame) -> list[Breach]:
        """All expectations at once, then those that fail again, for what was seen."""
        c, expectations = contract(asked.table), asked.suite
        gx = great_expectations()
        batch = self._batch(frame)
        result = batch.validate(_gx_suite(gx, c, expectations), result_format="BOOLEAN_ONLY")
        found = []
        for i, one in enumerate(result.results):
            expectation = expectations[one.expectation_config.meta["position"]]
            if not one.success and not one.exception_info.get("raised_exception"):
                # Only now, and without values of personal fields: a summary costs a query per expectation.
                samples = 0 if c.is_personal(expectation.columns) else SAMPLES
                wanted = {"result_format": "SUMMARY", "partial_unexpected_count": samples}
                one = batch.validate(_gx_suite(gx, c, [expectation]), result_format=wanted).results[0]
                result.results[i] = one
            if not one.success:
                found.append(Breach(c.name, expectation.level, expectation.says, _observed(one)))
        self._results.append((c.name, "-".join(str(d) for d in asked.days) or "undated", result))
        return found

    def _batch(self, frame: DataFrame) -> Any:
        if self._batches is None:
            self._context = great_expectations().get_context(mode="ephemeral")
            self._context.variables.progress_bars = {"globally": False, "metric_calculations": False}
            source = self._context.data_sources.add_spark("staged", persist=False)
            # Or it would take whichever session was made last, which in tests may be the other engine's.
            source.get_execution_engine().spark = self.spark
            asset = source.add_dataframe_asset("staged")
            self._batches = asset.add_batch_definition_whole_dataframe("staged")
        return self._batches.get_batch(batch_parameters={"dataframe": frame})

    def write_docs(self, docs: Path, keep: int) -> list[str]:
        """Data Docs of every table judged since the last; what of them could not be written, in words."""
        with _unwritten() as told:
            try:
                self._write_docs(docs, keep)
            except OSError as e:
                told.append(e.strerror or str(e))
        return told

    def _write_docs(self, docs: Path, keep: int) -> None:
        from great_expectations.core.run_identifier import RunIdentifier
        from great_expectations.data_context.types.resource_identifiers import (
            ExpectationSuiteIdentifier,
            ValidationResultIdentifier,
        )

        context, results = self._context, self._results
        self._results = []
        docs.mkdir(parents=True, exist_ok=True)
        at = datetime.now(UTC)
        for n, (table, name, result) in enumerate(results):
            key = ValidationResultIdentifier(
                expectation_suite_identifier=ExpectationSuiteIdentifier(table),
                run_id=RunIdentifier(run_name=name, run_time=at),
                # the same table may be judged more than once, such as a feed's two months
                batch_identifier=f"{table}-{n}",
            )
            context.validation_results_store.set(key, result)
        stamp = f"{at:{STAMP}}"
        with TemporaryDirectory(prefix="new-", dir=docs) as built:
            # Built beside: it empties the folder that it builds in, and with it the pages of earlier audits.
            context.add_data_docs_site(stamp, _site(Path(built)))
            context.build_data_docs(site_names=[stamp])
            _add_pages(Path(built), docs, stamp)
        _keep_newest(docs, keep)


# --- its process ---

_judge: Judge | None = None
_engine: EmbeddedEngine | None = None
_auditor = ""


def begin(auditor: str) -> None:
    """Import and start what the first table would wait for; what another auditor left unwritten is forgotten."""
    global _judge, _engine, _auditor
    if _engine is None:
        _engine = EmbeddedEngine(1, MEMORY_BYTES)
    if _judge is None or _auditor != auditor:
        great_expectations()
        _judge, _auditor = Judge(_engine.spark), auditor


def judge_files(auditor: str, asked: Asked) -> list[Breach]:
    begin(auditor)
    assert _judge is not None
    assert _engine is not None
    frame = _engine.files(asked.base, asked.files, asked.schema, contract(asked.table).partitions)
    return _judge.judge(asked, frame)


def write_pages(docs: Path, keep: int) -> list[str]:
    assert _judge is not None
    return _judge.write_docs(docs, keep)


# --- Great Expectations ---


def great_expectations() -> Any:
    """The package, imported without what it does not need here."""
    # It reports its use to its makers unless this is set before the import.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    hidden = [name for name in TAKEN_ALONG if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: there is no such module
    try:
        import great_expectations as gx
    finally:
        for name in hidden:
            del sys.modules[name]
    return gx


def _gx_suite(gx: Any, c: Contract, expectations: Sequence[Expectation]) -> Any:
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


@contextmanager
def _unwritten() -> Iterator[list[str]]:
    """What goes wrong while pages are written, kept instead of printed with its trace."""
    told: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage().rstrip('". \n').splitlines()[-1])

    logger, kept = logging.getLogger("great_expectations"), Kept(logging.ERROR)
    before, logger.propagate = logger.propagate, False
    logger.addHandler(kept)
    try:
        yield told
    finally:
        logger.removeHandler(kept)
        logger.propagate = before


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
    kept = {stamp_of(path) for path in indices[-keep:]}
    for folder in [p for p in (docs / "validations").rglob("*") if p.is_dir() and _STAMPED.fullmatch(p.name)]:
        if folder.name not in kept:
            shutil.rmtree(folder)


def stamp_of(name: str | Path) -> str | None:
    """The audit that a page belongs to; None for what all share."""
    found = _STAMPED.search(str(name))
    return None if found is None else found.group()
