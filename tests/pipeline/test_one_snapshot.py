"""A run reads one snapshot of its inputs, whatever is ingested beside it; readers of a release read the release."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs.pipeline import run
from jobs.progress import Advance, Steps
from lake import releases
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from project.folder import Project
from queries.user import card, find_uid
from schemas.contracts import contracts
from tests.pipeline import hand_made
from tests.pipeline.shop import VOLATILE, assert_same

AS_OF = date(2026, 3, 10)
STEPS = ("identity", "brushing", "activity", "fission", "offers", "profile", "insights")
RELEASED = ("silver", "identity", "activity", "fission", "profile", "segments")


def meanwhile(n: int) -> dict[str, tuple[str, ...]]:
    """Rows of the n-th delivery that would move nearly every number if a step saw them: of days that the run counts."""
    return {
        "members": (
            f"m1,2026-03-01 10:00,1380000001{n},w1,四川,,2026-03-0{n} 11:00",
            f"n{n},2026-03-02 12:00,1390000000{n},v{n},四川,m1,2026-03-02 12:00",
        ),
        "products": (f"s1,cup{n},C,2026-03-0{n} 08:00", f"s2,cup{n},C,2026-03-0{n} 08:00"),
        "orders": (f"p{n},2026-03-07 10:00,2026-03-07 10:05,n{n},c1,2026-03-07 10:05",),
        "order_lines": (f"p{n},2026-03-07 10:00,s1,1,99900,2026-03-07 10:05",),
        # two who were two persons are one from now on
        "browse": (f"x{n},2026-03-08 10:00,view,,w4,d5,s1",),
        "shares": (f"y{n},2026-03-02 11:00,share_open,,v{n},m1,c1,s1,",),
    }


class Between(Steps):
    """Steps with something that happens before the first and after each of them."""

    def __init__(self, happens: Callable[[int], object]):
        super().__init__(quiet=True)
        self.happens, self.seen = happens, 0

    @contextmanager
    def step(self, name: str) -> Iterator[Advance]:
        self.seen += 1
        self.happens(self.seen)
        with super().step(name) as advance:
            yield advance


def released(lake: Lake) -> dict[str, pa.Table]:
    """What readers of the newest release see of every table that it pins."""
    found = {}
    with connect(lake, releases.newest(lake)) as con:
        there = {f"{s}.{v}" for s, v in con.execute("select schema_name, view_name from duckdb_views()").fetchall()}
        for name in sorted(there & set(contracts())):
            if contracts()[name].layer in RELEASED:
                volatile = VOLATILE | {"_batch_id"}
                columns = [c for (c, *_) in con.execute(f"describe {name}").fetchall() if c not in volatile]
                listed = ", ".join(f'"{c}"' for c in columns)
                found[name] = con.sql(f"select {listed} from {name} order by all").to_arrow_table()
    return found


@pytest.fixture(scope="module")
def quiet(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    """A day that was run while nothing else happened."""
    project = hand_made.new_project(tmp_path_factory.mktemp("quiet") / "project")
    hand_made.taken(project, embedded, "first")
    run(project, embedded, AS_OF)
    return project


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> tuple[Project, dict[str, int]]:
    """The same day, with an ingest before every step; and the versions of silver when the run began."""
    project = hand_made.new_project(tmp_path_factory.mktemp("disturbed") / "project")
    hand_made.taken(project, embedded, "first")
    began = {n: v for n, v in project.lake.versions().items() if n.startswith("silver.")}
    beside = Project.load(project.folder)
    happens = Between(lambda n: hand_made.taken(beside, embedded, f"meanwhile-{n}", meanwhile(n)))
    run(project, embedded, AS_OF, steps=happens)
    assert happens.seen == len(STEPS)
    return project, began


@pytest.mark.slow
def test_an_ingest_between_any_two_steps_changes_nothing_of_what_is_released(
    quiet: Project, disturbed: tuple[Project, dict[str, int]]
) -> None:
    assert_same(released(quiet.lake), released(disturbed[0].lake), ("alone", "with ingests beside it"))


@pytest.mark.slow
def test_the_release_and_the_notes_of_the_run_name_the_versions_that_it_read(
    disturbed: tuple[Project, dict[str, int]],
) -> None:
    project, began = disturbed
    made = releases.newest(project.lake)
    assert {n: v for n, v in made.tables.items() if n.startswith("silver.")} == began
    assert all(project.lake.version(name) != version for name, version in began.items())
    with connect(project.lake, None) as con:
        noted = con.execute("select step, inputs from ops.runs where as_of is not null order by created_at").fetchall()
    assert {step for step, _ in noted} == set(STEPS)
    for _, inputs in noted:
        read: dict[str, Any] = json.loads(inputs)
        assert {n: v for n, v in read.items() if n.startswith("silver.")} == began


@pytest.mark.slow
def test_readers_of_a_release_see_nothing_of_what_was_ingested_since(
    disturbed: tuple[Project, dict[str, int]],
) -> None:
    project, _ = disturbed
    at = releases.newest(project.lake)
    uid = find_uid(project, "m1", at, by_member_id=True)
    shown = card(project, uid, reveal=True)
    assert [c["phone"] for c in shown.contacts] == ["13800000001"]


@pytest.mark.slow
def test_the_next_run_takes_what_came_meanwhile(
    disturbed: tuple[Project, dict[str, int]], embedded: Engine, tmp_path: Path
) -> None:
    project, _ = disturbed
    before = releases.newest(project.lake)
    made = run(project, embedded, AS_OF).release
    newest = {n: v for n, v in project.lake.versions().items() if n.startswith("silver.")}
    assert {n: v for n, v in made.tables.items() if n.startswith("silver.")} == newest
    # seven new members; w4 and d5 are one person now
    assert made.counts["members"] == before.counts["members"] + len(STEPS)
    assert made.counts["users"] == before.counts["users"] + len(STEPS) - 1


def test_a_view_at_fixed_versions_shows_them_and_cannot_be_written(lake: Lake) -> None:
    lake.ensure("silver.products")
    view = lake.at({"silver.products": None, "silver.members": None})
    assert view.version("silver.products") is None
    assert view.files("silver.products") == []
    assert "silver.products" not in view.versions()
    with pytest.raises(RuntimeError, match="cannot be written through this view"):
        view.stage("silver.products", "r1")
    with pytest.raises(RuntimeError, match="cannot be written through this view"):
        view.ensure("silver.products")
