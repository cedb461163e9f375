"""kill -9 at any moment, run again: the tables are those of a run that nobody killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from jobs.ingest.step import ingest
from lake import journal, releases
from lake.engine import Engine
from project.folder import Project
from tests.pipeline import shop

MOMENTS = int(os.environ.get("HUAXIANG_KILLS", "2"))
"""How many moments of each command are tried; the release check tries ten."""
DAY: date = shop.LAST


def command(project: Project, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments, "--project", str(project.folder), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def ingest_arguments(project: Project) -> list[str]:
    return ["ingest", "--received-at", shop.received(project, DAY).isoformat()]


def copied(project: Project, to: Path) -> Project:
    shutil.copytree(project.folder, to)
    return Project.load(to)


def finished(project: Project, *arguments: str) -> float:
    started = time.monotonic()
    process = command(project, *arguments)
    code = process.wait(timeout=300)
    assert code in (0, 4), f"{arguments} ended with {code}"
    return time.monotonic() - started


def killed(project: Project, after: float, *arguments: str) -> None:
    process = command(project, *arguments)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, embedded: Engine) -> Project:
    """A shop with one day behind it and the next day's files in the inbox."""
    project = shop.new_project(tmp_path_factory.mktemp("killed") / "before")
    shop.one_day(project, embedded, DAY - timedelta(days=1))
    shop.deliver(project, DAY)
    return project


@pytest.mark.slow
def test_a_killed_ingest_and_a_killed_run_leave_no_trace(before: Project, tmp_path: Path, embedded: Engine) -> None:
    whole = copied(before, tmp_path / "whole")
    ingest_seconds = finished(whole, *ingest_arguments(whole))
    run_arguments = ["run", "--as-of", DAY.isoformat()]
    run_seconds = finished(whole, *run_arguments)
    expected = shop.tables(whole)
    for i in range(MOMENTS):
        part = (i + 1) / (MOMENTS + 1)
        project = copied(before, tmp_path / f"killed-{i}")
        killed(project, ingest_seconds * part, *ingest_arguments(project))
        ingest(project, embedded, received_at=shop.received(project, DAY))
        killed(project, run_seconds * part, *run_arguments)
        finished(project, *run_arguments)
        shop.assert_same(expected, shop.tables(project), ("whole", f"killed at {part:.0%}"))
        assert releases.release(project.lake).as_of == DAY
        assert not project.lake.store.names(journal.JOURNALS), "a journal was left behind"
        shutil.rmtree(project.folder)
