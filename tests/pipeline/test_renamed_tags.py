"""A shop that calls every tag otherwise has the same tables, report, cards and gap: code finds tags by their roles."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.ingest.step import ingest
from jobs.pipeline import RunReport, run
from lake import releases
from lake.engine import Engine
from lake.sql import connect
from project.folder import Project
from queries.flow import flow
from queries.gap import gap
from queries.user import card
from report.card import card_html
from report.data import report_data
from report.page import html
from tests.pipeline import shop
from tests.renamed import PREFIX, rename_folder

pytestmark = pytest.mark.slow
LAST = shop.LAST
WEEK_BEFORE, MONTH_BEFORE = LAST - timedelta(days=7), LAST - timedelta(days=30)
DECLARED = ("spec", "catalogue", "rules_version")
"""Columns that hash the declarations, names included."""


@dataclass(frozen=True)
class Brought:
    """A shop that was brought through three days."""

    project: Project
    runs: list[RunReport]


def brought(folder: Path, engine: Engine, *, rename: bool) -> Brought:
    made = shop.new_project(folder)
    if rename:
        rename_folder(folder)
        made = Project.load(folder)
    shop.deliver(made, LAST)
    # values set by hand name the tags themselves
    shutil.rmtree(made.inbox / "manual_tags")
    ingest(made, engine, received_at=shop.received(made, LAST))
    return Brought(made, [run(made, engine, day) for day in (MONTH_BEFORE, WEEK_BEFORE, LAST)])


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Brought:
    return brought(tmp_path_factory.mktemp("shipped") / "p", embedded, rename=False)


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Brought:
    return brought(tmp_path_factory.mktemp("renamed") / "p", embedded, rename=True)


def in_former_names(project: Project, value: object) -> str:
    """Anything as text, the tags called as they were and the folder left out."""
    return str(value).replace(PREFIX, "").replace(str(project.folder), "")


def page(project: Project) -> str:
    """The report without the minute in which its release was made."""
    d = report_data(project, releases.release(project.lake))
    d.at = replace(d.at, created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return html(d)[0].replace(PREFIX, "")


def rows(project: Project) -> dict[str, pa.Table]:
    found = {}
    for name, table in shop.tables(project).items():
        table = table.drop_columns([c for c in DECLARED if c in table.column_names])
        table = table.rename_columns([c.removeprefix(PREFIX) for c in table.column_names])
        for i, f in enumerate(table.schema):
            if pa.types.is_string(f.type) or pa.types.is_large_string(f.type):
                texts = [t if t is None else t.replace(PREFIX, "") for t in table[f.name].to_pylist()]
                table = table.set_column(i, f, pa.array(texts, f.type))
        found[name] = table.sort_by([(c, "ascending") for c in table.column_names])
    return found


def test_every_table_is_the_same_but_for_the_names(shipped: Brought, renamed: Brought) -> None:
    mine, yours = rows(shipped.project), rows(renamed.project)
    assert mine["segments.figures"].num_rows > 500 and mine["segments.alerts"].num_rows > 2
    shop.assert_same(mine, yours, ("the shipped names", "other names"))


def test_runs_and_pages_say_the_same(shipped: Brought, renamed: Brought) -> None:
    for a, b in zip(shipped.runs, renamed.runs, strict=True):
        assert in_former_names(shipped.project, a.warnings) == in_former_names(renamed.project, b.warnings)
    pages = [page(one.project) for one in (shipped, renamed)]
    assert len(pages[0]) > 500_000 and "role" not in " ".join(shipped.runs[-1].warnings)
    assert pages[0] == pages[1]


def test_gap_flow_and_cards_are_the_same(shipped: Brought, renamed: Brought) -> None:
    found = []
    for one in (shipped, renamed):
        p = one.project
        with connect(p.lake, None) as con:
            ((uid,),) = con.execute(
                "select min(uid) from segments.segments where as_of = ? and segment = 'loyalty'", [LAST]
            ).fetchall()
        told = gap(p, Decimal(10_000_000), LAST, save=True)
        files = sorted(f.name for f in (p.folder / "audiences").glob("gap_*.yaml"))
        assert files and Project.load(p.folder).audiences
        moved = flow(p, None, WEEK_BEFORE, LAST)
        found.append([in_former_names(p, said) for said in (told, moved, files, card_html(p, card(p, uid)))])
    assert found[0] == found[1]


def test_a_shop_that_renames_its_tags_goes_on_and_compares_with_no_day_of_the_old_names(
    shipped: Brought, tmp_path: Path, embedded: Engine
) -> None:
    shutil.copytree(shipped.project.folder, tmp_path / "p")
    rename_folder(tmp_path / "p")
    project = Project.load(tmp_path / "p")
    run(project, embedded, LAST)
    with connect(project.lake, None) as con:
        ((reason,),) = con.execute(
            "select alert_reason from segments.alerts where as_of = ? and alert = 'moving_to_rare_low'", [LAST]
        ).fetchall()
        figures = {
            f
            for (f,) in con.execute(
                "select figure from segments.figures where topic = 'aipl' and as_of = ?", [LAST]
            ).fetchall()
        }
    assert reason == "no_earlier_day"
    # nobody is said to have stood in no stage, or below the benchmark, because the stage had another name
    assert {"users", "share", "fast"} <= figures and not figures & {"conversion", "benchmark_share"}
    assert f"Needs the profile of {LAST - timedelta(days=30)}" in page(project)
