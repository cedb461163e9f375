"""The one list of steps says what is true: who writes each table, and what each step really reads."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from jobs.pipeline import run, run_step
from jobs.progress import Steps
from jobs.steps import STEPS, WRITTEN_LAYERS
from lake import releases
from lake.engine import Engine
from lake.lake import Lake
from lake.sql import connect
from schemas.contracts import contracts
from schemas.errors import NotThereError
from tests.pipeline import hand_made

ROOT = Path(__file__).parents[2]
DAY = date(2026, 3, 8)
BY_HAND = "profile.tag_acceptances"
"""Written by ``huaxiang tag accept``; a run reads it."""


def test_every_table_of_a_run_is_written_by_one_step() -> None:
    written = [table for step in STEPS for table in step.writes]
    ours = {name for name, c in contracts().items() if c.layer in WRITTEN_LAYERS and c.layer != "ops"}
    assert sorted(written) == sorted(ours)


def test_a_step_reads_what_was_there_or_what_earlier_steps_wrote() -> None:
    there = {name for name, c in contracts().items() if c.layer not in WRITTEN_LAYERS}
    for step in STEPS:
        assert set(step.reads) <= there, step.name
        there |= set(step.writes)


def test_a_step_is_a_package_of_its_name() -> None:
    assert [s.name for s in STEPS if not (ROOT / "jobs" / s.name / "step.py").is_file()] == []


def test_a_release_pins_what_steps_read_and_write() -> None:
    layers = {t.split(".")[0] for s in STEPS for t in (*s.reads, *s.writes)}
    assert layers == set(releases.RELEASED_LAYERS)


@pytest.mark.slow
def test_steps_read_no_table_that_they_do_not_declare(
    tmp_path: Path, embedded: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table whose files a step asks for, on a day with another day before it."""
    project = hand_made.new_project(tmp_path / "shop")
    hand_made.taken(project, embedded, "first")
    opened: dict[str, set[str]] = {}
    now: list[str] = []

    class Recorded(Steps):
        @contextmanager
        def step(self, name: str) -> Any:
            now.append(name.split()[-1])
            with super().step(name) as advance:
                yield advance
            now.pop()

    real = Lake.delta

    def delta(self: Lake, table: str, version: int | None = None) -> Any:
        if now:
            opened.setdefault(now[-1], set()).add(table)
        return real(self, table, version)

    monkeypatch.setattr(Lake, "delta", delta)
    for day in (DAY, date(2026, 3, 9)):
        run(project, embedded, day, steps=Recorded(quiet=True))
    assert set(opened) == {s.name for s in STEPS}
    undeclared = {
        step.name: sorted(opened[step.name] - set(step.reads) - set(step.writes) - {BY_HAND}) for step in STEPS
    }
    assert undeclared == {step.name: [] for step in STEPS}


@pytest.mark.slow
def test_one_step_runs_by_itself_and_releases_nothing(tmp_path: Path, embedded: Engine) -> None:
    project = hand_made.new_project(tmp_path / "shop")
    hand_made.taken(project, embedded, "first")
    assert run_step(project, embedded, DAY, "identity").rows >= 3
    assert project.lake.version("identity.users") is not None and project.lake.version("activity.activity") is None
    assert releases.latest(project.lake) is None
    with connect(project.lake, None) as con:
        [(step, inputs)] = con.execute("select step, inputs from ops.runs where as_of is not null").fetchall()
    assert step == "identity" and '"silver.members"' in inputs and "identity.users" not in inputs
    with pytest.raises(NotThereError, match="did you mean 'identity'"):
        run_step(project, embedded, DAY, "identiti")
    assert run(project, embedded, DAY).release.as_of == DAY
