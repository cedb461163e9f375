"""Every notebook runs from its first cell to its last, and what it shows equals SQL that is not its own."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from cli import datasets
from jobs.ingest.step import ingest
from jobs.pipeline import run
from lake.engine import Engine
from lake.releases import release
from lake.sql import connect
from project import setup
from project.folder import Project
from tests.conftest import missing
from tests.pipeline import shop

pytestmark = pytest.mark.slow

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
RETAIL = Path(os.environ.get("HUAXIANG_ONLINE_RETAIL", Path(__file__).parents[3] / "shared/data/online_retail.parquet"))
JSON = "application/json"


def shown(name: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the notebook on the project; gives what its last cell shows as JSON."""
    try:
        import jupytext
        import nbclient
    except ImportError:
        missing("the extra notebooks is not installed: make .venv/.notebooks")
    monkeypatch.setenv("HUAXIANG_PROJECT", str(project.folder))
    monkeypatch.setenv("PYTHONPATH", str(NOTEBOOKS.parent))
    notebook = jupytext.read(NOTEBOOKS / f"{name}.py")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOKS)}}).execute()
    found: dict[str, Any] = notebook.cells[-1]["outputs"][0]["data"][JSON]
    return found


def ask(project: Project, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Rows of the latest release; ``$day`` is its day."""
    at = release(project.lake)
    with connect(project.lake, at) as con:
        return con.execute(sql, {**({"day": at.as_of} if "$day" in sql else {}), **values}).fetchall()


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    project = shop.new_project(tmp_path_factory.mktemp("shop") / "project")
    for day in shop.last_days(2):
        shop.one_day(project, embedded, day)
    return project


def test_every_notebook_is_run_here() -> None:
    assert {p.stem for p in NOTEBOOKS.glob("*.py")} == {"a_day", "rfm_and_lifecycle", "fission_tree"}


def test_a_day_shows_the_segments_and_flows_of_the_release(two_days: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shown("a_day", two_days, monkeypatch)
    [(members, visitors)] = ask(
        two_days,
        "select count(*) filter (is_member), count(*) filter (not is_member) from profile.profile where as_of = $day",
    )
    assert (found["members"], found["visitors"]) == (members, visitors)
    assert members > 100 and visitors > 50
    of_profile = "select lifecycle, count(*) from profile.profile where as_of = $day and is_member group by 1"
    assert found["lifecycle"] == dict(ask(two_days, of_profile))
    assert [(found["rfm_members"],)] == ask(
        two_days, "select count(rfm_recency) from profile.profile where as_of = $day and is_member"
    )
    # Whoever was known on either of both days moves once, from new or to lost where on one of them only.
    before = release(two_days.lake).as_of - timedelta(days=1)
    [(either,)] = ask(
        two_days, "select count(distinct uid) from profile.profile where as_of in ($before, $day)", before=before
    )
    assert found["flow_users"] == either


def test_rfm_and_lifecycle_are_what_the_profile_holds(two_days: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shown("rfm_and_lifecycle", two_days, monkeypatch)
    assert found["scored_otherwise"] == 0
    assert [(found["buyers"],)] == ask(two_days, "select count(rfm_recency) from profile.profile where as_of = $day")
    assert found["repurchase_stored"].items() <= found["repurchase_by_hand"].items()


def test_the_tree_that_is_drawn_is_the_one_that_is_stored(two_days: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shown("fission_tree", two_days, monkeypatch)
    [(trees, largest)] = ask(two_days, "select count(*), max(tree_users) from fission.share_trees where as_of = $day")
    assert (found["trees"], found["largest"]["users"]) == (trees, largest)
    assert sum(found["largest"]["levels"].values()) == largest - 1
    assert found["virality_by_hand"] == pytest.approx(found["virality_stored"])
    [(touches, late)] = ask(
        two_days,
        "select sum(touches), sum(touches) filter (touch_outcome = 'late') from fission.touches where as_of = $day",
    )
    assert (sum(found["touches"].values()), found["touches"]["late"]) == (touches, late)
    assert found["reached"]["reached"] >= found["reached"]["won"] > 0
    # A person has one parent, so whoever stands in a tree without being its root was brought.
    members = "select sum(tree_users) - count(*) from fission.share_trees where as_of = $day"
    assert [(found["brought"],)] == ask(two_days, members)


@pytest.mark.skipif(not RETAIL.is_file(), reason="Online Retail is not there; HUAXIANG_ONLINE_RETAIL names its file")
def test_on_online_retail_the_repeat_rate_is_the_published_one(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup.init(tmp_path / "uci", "online-retail")
    project = Project.load(tmp_path / "uci")
    last = datasets.unpack("online-retail", [RETAIL], project.inbox)
    ingest(project, embedded, received_at=shop.received(project, last))
    run(project, embedded, last)
    found = shown("rfm_and_lifecycle", project, monkeypatch)
    assert found["scored_otherwise"] == 0
    assert found["repurchase_stored"] and found["repurchase_stored"].items() <= found["repurchase_by_hand"].items()
    with duckdb.connect() as con:
        raw = con.execute(
            f"""
            select avg((days > 1)::int) from (
                select "CustomerID", count(distinct cast("InvoiceDate" as date)) as days from read_parquet('{RETAIL}')
                where "CustomerID" is not null and "Quantity" > 0 and "UnitPrice" > 0 group by 1)
            """
        ).fetchall()[0][0]
    assert round(raw, 3) == 0.643
    # Orders that were wholly sent back are no purchases here, and are in the raw lines.
    assert found["repeat_rate_of_members"] == pytest.approx(raw, abs=0.02)
