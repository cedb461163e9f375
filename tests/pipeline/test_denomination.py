"""A lake keeps its time zone and its currency: days cut anew, or two currencies added up, would mean nothing."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import commands
from jobs.ingest.step import ingest
from jobs.pipeline import run
from lake import releases
from lake.engine import Engine
from project.folder import Project
from schemas.errors import ConfigurationError
from tests.ingest.shop import InProcess
from tests.pipeline import hand_made

AS_OF = date(2026, 3, 10)


def taken(project: Project) -> None:
    hand_made.taken(project, InProcess(), "first")  # type: ignore[arg-type]


def test_another_time_zone_on_an_old_lake_is_refused_with_both_and_the_way_to_a_new_one(tmp_path: Path) -> None:
    taken(hand_made.new_project(tmp_path / "shop", time_zone="America/New_York"))
    other = hand_made.change_settings(tmp_path / "shop", time_zone="UTC")
    for verb in (lambda: ingest(other, InProcess()), lambda: run(other, InProcess(), AS_OF, force=True)):  # type: ignore[arg-type, return-value]
        with pytest.raises(ConfigurationError, match=r"time_zone: UTC, .*time_zone: America/New_York, .*new lake"):
            verb()
    anew = hand_made.change_settings(tmp_path / "shop", lake="lake-utc")
    assert ingest(anew, InProcess()).taken == len(hand_made.FIRST)  # type: ignore[arg-type]


def test_another_currency_is_refused_before_anything_is_added_up(tmp_path: Path) -> None:
    taken(hand_made.new_project(tmp_path / "shop", currency="USD"))
    other = hand_made.change_settings(tmp_path / "shop", currency="CNY")
    hand_made.deliver(other, "second")
    with pytest.raises(ConfigurationError, match=r"says currency: CNY, .* kept in currency: USD"):
        ingest(other, InProcess())  # type: ignore[arg-type]


def test_what_only_reads_is_refused_too_and_says_so_in_one_line(tmp_path: Path) -> None:
    taken(hand_made.new_project(tmp_path / "shop", currency="USD"))
    hand_made.change_settings(tmp_path / "shop", currency="CNY")
    said = CliRunner().invoke(commands(), ["status", "--project", str(tmp_path / "shop"), "--json"])
    assert said.exit_code == ConfigurationError.exit_code
    assert json.loads(said.stdout)["error"] == "ConfigurationError"


def test_a_lake_that_never_said_is_told_with_a_remark_and_held_to_it(tmp_path: Path) -> None:
    project = hand_made.new_project(tmp_path / "shop")
    taken(project)
    (project.lake.root / "ops" / "lake.json").unlink()
    report = ingest(Project.load(project.folder), InProcess())  # type: ignore[arg-type]
    assert "Asia/Shanghai and CNY of huaxiang.yaml are kept with it from now on" in report.text()
    assert not ingest(Project.load(project.folder), InProcess()).notes  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        _ = hand_made.change_settings(project.folder, currency="USD").lake


@pytest.mark.slow
def test_a_run_tells_an_old_lake_too_and_its_numbers_stay(tmp_path: Path, embedded: Engine) -> None:
    project = hand_made.new_project(tmp_path / "shop", time_zone="America/New_York")
    taken(project)
    (project.lake.root / "ops" / "lake.json").unlink()
    assert any("America/New_York" in w for w in run(project, embedded, AS_OF).warnings)
    users = releases.newest(project.lake).counts["users"]
    with pytest.raises(ConfigurationError):
        run(hand_made.change_settings(tmp_path / "shop", time_zone="UTC"), embedded, AS_OF, force=True)
    assert releases.newest(project.lake).counts["users"] == users
