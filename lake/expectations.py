"""Great Expectations, in a process of its own: it judges what was counted of all tables in one batch, and writes Data Docs.

A batch has a row an expectation of a contract: the table, what is expected, rows judged and rows that break it
(lake/statement.py). Judging every table's frame by itself asked a quarter of a second of Python a table, and its import
takes 3 to 10 seconds: the process begins beside other work.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from schemas.contracts import Level
from schemas.suite import Counted

TAKEN_ALONG = ("pyspark", "rfc3987_syntax", "sqlalchemy")
"""Modules that Great Expectations imports where others brought them, though figures need none: a third of its import."""
STAMP = "%Y%m%dT%H%M%S.%fZ"
"""How Great Expectations names the folder of an audit's pages: by its time."""
_STAMPED = re.compile(r"\d{8}T\d{6}\.\d{6}Z")
INDEX = "index.html"
LEVELS: dict[Level, str] = {"fail": "must hold", "warn": "is warned of where it does not hold"}
SEVERITY: dict[Level, str] = {"fail": "critical", "warn": "warning"}
Expected = Mapping[str, Mapping[Level, int]]
"""By table and level, how many expectations its contract has."""


class Judge:
    """Great Expectations over figures, and the pages of what it judged."""

    def __init__(self) -> None:
        self._results: list[Any] = []
        self._context: Any = None
        self._batches: Any = None

    def judge(self, figures: Sequence[Counted], expected: Expected) -> list[str]:
        """What does not hold, in words: tables with a ``fail`` that rows break, or of which not every expectation was counted."""
        import pandas as pd

        frame = pd.DataFrame([asdict(f) for f in figures])
        batch = self._batch().get_batch(batch_parameters={"dataframe": frame})
        result = batch.validate(_suite(great_expectations(), expected), result_format=RESULT)
        self._results.append(result)
        return [
            one.expectation_config.meta["says"]
            for one in result.results
            if not one.success and one.expectation_config.meta["level"] == "fail"
        ]

    def _batch(self) -> Any:
        if self._batches is None:
            self._context = great_expectations().get_context(mode="ephemeral")
            self._context.variables.progress_bars = {"globally": False, "metric_calculations": False}
            source = self._context.data_sources.add_pandas("audit")
            self._batches = source.add_dataframe_asset("figures").add_batch_definition_whole_dataframe("figures")
        return self._batches

    def write_docs(self, docs: Path, keep: int) -> list[str]:
        """Data Docs of every batch judged since the last; what of them could not be written, in words."""
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
        for n, result in enumerate(results):
            key = ValidationResultIdentifier(
                expectation_suite_identifier=ExpectationSuiteIdentifier(SUITE),
                run_id=RunIdentifier(run_name=SUITE, run_time=at),
                batch_identifier=f"{SUITE}-{n}",
            )
            context.validation_results_store.set(key, result)
        stamp = f"{at:{STAMP}}"
        with TemporaryDirectory(prefix="new-", dir=docs) as built:
            # Built beside: it empties the folder that it builds in, and with it the pages of earlier audits.
            context.add_data_docs_site(stamp, _site(Path(built)))
            context.build_data_docs(site_names=[stamp])
            _add_pages(Path(built), docs, stamp)
        _keep_newest(docs, keep)


SUITE = "contracts"
RESULT = {"result_format": "SUMMARY", "unexpected_index_column_names": ["table", "expected", "observed"]}


def _suite(gx: Any, expected: Expected) -> Any:
    """Of every table: nothing breaks what its contract has as ``fail``, or as ``warn``, and all of it was counted."""
    made = gx.ExpectationSuite(name=SUITE)
    for table, by_level in sorted(expected.items()):
        for level in by_level:
            rows = {"row_condition": f'table == "{table}" and level == "{level}"', "condition_parser": "pandas"}
            kwargs = {"column": "breaking", "max_value": 0, **rows}
            words = f"{table}: no row breaks what {LEVELS[level]}"
            made.expectations.append(_one("expect_column_values_to_be_between", kwargs, words, level))
        rows, count = {"row_condition": f'table == "{table}"', "condition_parser": "pandas"}, sum(by_level.values())
        words = f"{table}: all {count} expectations of its contract were counted"
        made.expectations.append(_one("expect_table_row_count_to_equal", {"value": count, **rows}, words, "fail"))
    return made


def _one(kind: str, kwargs: dict[str, Any], says: str, level: Level) -> Any:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    meta = {"says": says, "level": level}
    return ExpectationConfiguration(
        type=kind, kwargs=kwargs, severity=SEVERITY[level], description=says, meta=meta
    ).to_domain_obj()


# --- its process ---

_judges: dict[str, Judge] = {}


def begin(auditor: str) -> None:
    """Import and make what the first batch would wait for; what another auditor left unwritten is forgotten."""
    if auditor not in _judges:
        great_expectations()
        _judges.clear()
        _judges[auditor] = Judge()


def judge_figures(auditor: str, figures: Sequence[Counted], expected: Expected) -> list[str]:
    begin(auditor)
    return _judges[auditor].judge(figures, expected)


def write_pages(auditor: str, docs: Path, keep: int) -> list[str]:
    return _judges[auditor].write_docs(docs, keep)


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
