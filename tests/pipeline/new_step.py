"""A step that nobody has, as text for ``jobs/`` and ``schemas/``, and a run with it: run by test_new_step.py.

``python new_step.py FOLDER`` is started where a copy of the code with these texts comes before the real one.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

PACKAGE = '''"""Step ``tally``: how many rows of each behaviour there are."""
'''
STEP = '''"""Step ``tally``: count the rows of activity up to the day, by behaviour."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from lake.locks import lock
from lake.publish import Audit, publish

if TYPE_CHECKING:
    from lake.engine import Engine
    from project.folder import Project

TABLE = "activity.tally"


def run_tally(project: Project, engine: Engine, as_of: date, run_id: str, audit: Audit | None = None) -> int:
    """Rows written, one a behaviour. ``audit`` is called with the staged folder before it is published."""
    lake = project.lake
    with lock(lake, TABLE):
        lake.ensure(TABLE)
        read_version = lake.version(TABLE)
        rows = engine.table(lake, "activity.activity").filter(F.col("day") <= F.lit(as_of))
        folder = lake.stage(TABLE, run_id)
        engine.write(rows.groupBy("behaviour_code").agg(F.count(F.lit(1)).alias("tally")), folder)
        if audit is not None:
            audit({TABLE: folder})
        publish(
            lake, TABLE, folder, replace="all", read_version=read_version, run_id=run_id, key=f"tally-{run_id}"
        )
        return sum(f.rows for f in lake.staged(TABLE, folder))
'''
IMPORT = "from jobs.tally.step import run_tally\n"
FUNCTION = """def _tally(g: Given, advance: Advance) -> Done:
    return Done(run_tally(g.project, g.engine, g.as_of, g.run_id, g.audit))


"""
ENTRY = '        Step("tally", _tally, reads=("activity.activity",), writes=("activity.tally",)),\n'
FIELD = "tally: {type: int64, unit: rows, zh: 行数, en: Rows of a behaviour}\n"
CONTRACT = """
tally:
  description: {zh: 各行为行数, en: Rows by behaviour}
  grain: behaviour_code
  key: [behaviour_code]
  columns:
    behaviour_code: {required: true, min: 1}
    tally: {required: true, min: 1}
"""


def main(folder: Path) -> dict[str, Any]:
    import jobs
    from cli.pages import arrows, derived, steps_page
    from jobs.pipeline import run, run_step
    from jobs.progress import Steps
    from jobs.steps import STEPS, step_named
    from lake.engine import open_engine
    from lake.releases import latest
    from lake.sql import connect
    from tests.pipeline import hand_made

    shown = []

    class Recorded(Steps):
        @contextmanager
        def step(self, name: str) -> Any:
            shown.append(name.split()[-1])
            with super().step(name) as advance:
                yield advance

    project = hand_made.new_project(folder / "shop")
    with open_engine("embedded", memory_gb=2) as engine:
        hand_made.taken(project, engine, "first")
        made = run(project, engine, date(2026, 3, 8), steps=Recorded(quiet=True))
        alone = run_step(project, engine, date(2026, 3, 8), "tally")
    with connect(project.lake, latest(project.lake)) as con:
        counted = dict(con.execute("select behaviour_code, tally from activity.tally").fetchall())
        by_hand = dict(con.execute("select behaviour_code, count(*) from activity.activity group by all").fetchall())
        noted = con.execute("select inputs, rows_out from ops.runs where step = 'tally' order by created_at").fetchall()
    fission, tally = step_named("fission"), step_named("tally")
    assert fission is not None and tally is not None
    return {
        "jobs": str(Path(jobs.__file__).parent),
        "order": [s.name for s in STEPS],
        "shown": shown,
        "seconds": sorted(made.steps),
        "counted": counted == by_hand,
        "rows": [len(counted), alone.rows, *(rows for _, rows in noted)],
        "inputs": [sorted(json.loads(inputs)) for inputs, _ in noted],
        "released": "activity.tally" in made.release.tables,
        "claimed": [s.name for s in STEPS if "activity.tally" in s.writes],
        "read before": "activity.tally" in fission.reads,
        "page": [line for line in steps_page().splitlines() if "tally" in line],
        "arrows": [arrow for arrow in arrows() if "tally" in arrow],
        "dags": derived()["steps"]["tally"],  # type: ignore[index]
    }


if __name__ == "__main__":
    found = main(Path(sys.argv[1]))
    Path(sys.argv[1], "found.json").write_text(json.dumps(found, default=str), encoding="utf-8")
