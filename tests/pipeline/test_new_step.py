"""A step is one entry and one package (and its table a contract): everything that names steps knows it then."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.steps import STEPS
from tests.pipeline import new_step

ROOT = Path(__file__).parents[2]
HOUSES = (
    "schemas",
    "lake",
    "features",
    "models",
    "audiences",
    "campaigns",
    "project",
    "jobs",
    "queries",
    "report",
    "cli",
    "conf",
)
END_OF_THE_LIST = "    )\n)\nWRITTEN_LAYERS"


def with_the_step(copy: Path) -> None:
    """A copy of the code with the step: two new files, and additions to one list, one field and one contract."""
    for house in HOUSES:
        shutil.copytree(ROOT / house, copy / house, ignore=shutil.ignore_patterns("__pycache__"))
    package = copy / "jobs" / "tally"
    package.mkdir()
    (package / "__init__.py").write_text(new_step.PACKAGE, encoding="utf-8")
    (package / "step.py").write_text(new_step.STEP, encoding="utf-8")
    for name, text in (("fields.yaml", new_step.FIELD), ("tables/activity.yaml", new_step.CONTRACT)):
        path = copy / "schemas" / name
        path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")
    path = copy / "jobs" / "steps.py"
    text = path.read_text(encoding="utf-8")
    for before, addition in (
        ("from lake.audit import", new_step.IMPORT),
        ("def settled(", new_step.FUNCTION),
        (END_OF_THE_LIST, new_step.ENTRY),
    ):
        assert text.count(before) == 1
        text = text.replace(before, addition + before)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run with the step says, in a process of its own."""
    folder = tmp_path_factory.mktemp("new_step")
    copy = folder / "first_on_the_path"
    with_the_step(copy)
    environment = {**os.environ, "PYTHONPATH": f"{copy}{os.pathsep}{ROOT}"}
    command = [sys.executable, str(Path(new_step.__file__)), str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    made: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    assert made["jobs"] == str(copy / "jobs")
    return made


pytestmark = pytest.mark.slow
ORDER = [*(s.name for s in STEPS), "tally"]


def test_a_run_does_it_in_its_place_and_shows_it(found: dict[str, Any]) -> None:
    assert found["order"] == found["shown"] == ORDER
    assert found["seconds"] == sorted(ORDER)
    assert found["counted"]


def test_it_runs_by_itself_and_both_are_noted_with_what_they_read(found: dict[str, Any]) -> None:
    counted, alone, *noted = found["rows"]
    assert counted == alone > 3 and noted == [counted, alone]
    assert found["inputs"] == [["activity.activity"]] * 2


def test_a_release_pins_its_table(found: dict[str, Any]) -> None:
    assert found["released"]


def test_no_step_that_writes_a_whole_layer_claims_its_table(found: dict[str, Any]) -> None:
    assert found["claimed"] == ["tally"]
    assert not found["read before"], "fission reads all of activity that is there before it"


def test_the_picture_the_page_and_the_dags_know_it(found: dict[str, Any]) -> None:
    assert found["arrows"] == [["activity", "tally"]]
    picture, arrow, row = found["page"]
    assert picture == '  tally["<b>tally</b><br>how many rows of each behaviour there are"]'
    assert arrow == "  activity --> tally"
    assert row.startswith("| `tally` | how many rows of each behaviour there are | [`activity.activity`]")
    assert found["dags"] == "how many rows of each behaviour there are"
