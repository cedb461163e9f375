"""``huaxiang demo``: from raw logs to audience files, on a simulated shop or a real data set, in one go.

What it does is what any shop does: files arrive day by day, are ingested through ``sources/*.yaml``, the day is run and
released, audiences are built and exported. Run again, it goes on where it stopped and says what was done already.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from datetime import time as clock
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from jobs.audiences.export import export
from jobs.ingest.step import ingest
from jobs.pipeline import run
from jobs.progress import Steps
from lake import releases
from lake.audit import Auditor
from lake.engine import Engine, Kind
from lake.folder_store import put_if_absent
from lake.refused import reason_of, refused
from lake.trace import traced
from project import setup
from project.folder import SETTINGS_FILE, Project
from report.page import report as write_report
from schemas.errors import AlertedError, HuaxiangError, InputError

NOTE = "demo.json"
BACK_FILLED = (28, 7)
"""Days before the last one that are run from the first load, so that flows and alerts have weeks to compare."""
DAILY = (1, 0)
"""Days before the last one that are run as they come; the first of them is the day up to which the first load reaches."""
ARRIVED_AT = clock(6, 0)
"""Local time at which a day's files arrive, the morning after."""


@dataclass
class DemoReport:
    """What the demo made and where, how long each part took, and what was there already."""

    project: Path
    data: str
    days: list[date] = field(default_factory=list)
    days_done_before: int = 0
    files_taken: int = 0
    refused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    users: int = 0
    audiences: list[dict[str, Any]] = field(default_factory=list)
    page: Path | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    total_seconds: float = 0.0

    def text(self) -> str:
        """The closing words, with what to try next."""
        p = self.project
        done = f", {self.days_done_before} of them done already" if self.days_done_before else ""
        spent = ", ".join(f"{name} {s:.1f} s" for name, s in self.seconds.items())
        lines = [
            f"{self.data}: {self.files_taken} new files taken, {len(self.days)} days run{done}, {self.users:,} users profiled.",
            f"Lake (Delta tables): {p / 'lake'}",
            *(_audience_in_words(a) for a in self.audiences),
            f"Report / 分群报告 (open in a browser / 用浏览器打开): {self.page}",
            f"Took {self.total_seconds:.1f} s: {spent}",
            "",
            "Try next / 接下来可以试:",
            f"  huaxiang status -p {p}",
            f'  huaxiang sql -p {p} "select scheme, segment, count(*) as users from segments.segments group by all order by all"',
            f"  huaxiang tag list -p {p}",
            f"  huaxiang gap --target 10000000 -p {p}",
        ]
        if self.refused:
            lines[1:1] = [
                f"{len(self.refused):,} files were REFUSED and are in no number / 个文件被拒收，不在任何数字里:",
                *(f"  {told}" for told in self.refused),
            ]
        if self.warnings:
            lines.insert(1, f"The last day warned {len(self.warnings):,} times: huaxiang status --warnings -p {p}")
        if self.audiences:
            name = self.audiences[0]["name"]
            lines += [
                f"  huaxiang audience preview {name} -p {p}",
                f"  huaxiang audience why {name} 0 -p {p}",
            ]
        lines += [f"  huaxiang release list -p {p}", f"  huaxiang user 0 -p {p}"]
        return "\n".join(lines)


def _audience_in_words(a: dict[str, Any]) -> str:
    if "stopped" in a:
        return f"Audience {a['name']}: {a['stopped']}"
    why = ", ".join(f"{n:,} {reason}" for reason, n in a["left_out"].items() if n)
    users = f" of {a['users']:,} users (left out: {why})" if why else ""
    return f"Audience {a['name']}: {a['rows']:,} rows{users} -> {a['file']}"


def demo(
    folder: Path,
    *,
    data: str = "simulator",
    files: list[Path] | None = None,
    users: int = 20_000,
    days: int = 180,
    seed: int = 7,
    engine: str | None = None,
    quiet: bool = False,
    trace: Path | None = None,
) -> DemoReport:
    """Make or go on with a demo project in ``folder``; NotThereError or InputError where data is missing."""
    started = time.perf_counter()
    steps = Steps(quiet=quiet)
    report = DemoReport(project=folder, data=data)
    parameters: dict[str, Any] = {"data": data, "files": [str(f.absolute()) for f in files or []]}
    if data == "simulator":
        parameters |= {"users": users, "days": days, "seed": seed}
    _settle(folder, parameters, data)
    project = Project.load(folder)
    with steps.shown():
        with steps.step("data"):
            plan, arrive = _arrivals(project, data, files or [], users, days, seed)
        steps.plan = 4 * len(plan) + 2
        kind: Kind | None = engine  # type: ignore[assignment]
        with project.open_engine(kind) as e, traced(trace, e.spills), project.audited(e) as audit:
            for day in plan:
                _one_day(project, e, day, plan, arrive, steps, report, audit)
            _audiences(project, e, steps, report)
        with steps.step("report"):
            report.page = write_report(project).file
    current = releases.release(project.lake)
    report.refused = [f"{r.file} ({r.feed}): {reason_of(r)}" for r in refused(project.lake)]
    report.users = current.counts.get("users", 0)
    report.seconds = _by_part(steps)
    report.total_seconds = time.perf_counter() - started
    return report


def _settle(folder: Path, parameters: dict[str, Any], data: str) -> None:
    """Make the project folder, or see that it is this demo's."""
    note = folder / NOTE
    if (folder / SETTINGS_FILE).exists():
        if not note.exists():
            raise HuaxiangError(f"{folder} is a project of yours, not a demo; name another folder with --dir")
        if json.loads(note.read_text(encoding="utf-8")) != parameters:
            raise HuaxiangError(
                f"{folder} holds a demo made with other options ({note.read_text(encoding='utf-8')}); "
                "name another folder with --dir, or remove it"
            )
        return
    setup.init(folder, None if data == "simulator" else data)
    put_if_absent(note, json.dumps(parameters))


Arrivals = tuple[list[date], Callable[[date], None]]


def _arrivals(project: Project, data: str, files: list[Path], users: int, days: int, seed: int) -> Arrivals:
    """The days to run, and what puts into the inbox the files that have arrived by the morning after a day."""
    if data == "simulator":
        return _simulated(project, users, days, seed)
    from cli import datasets

    if data not in datasets.DATASETS:
        raise InputError(f"--data is simulator, {', '.join(datasets.DATASETS)}, not {data!r}")
    return _plan(datasets.unpack(data, files, project.inbox)), lambda day: None


def _plan(last: date) -> list[date]:
    return [last - timedelta(days=i) for i in (*BACK_FILLED, *DAILY)]


def _first_load(plan: list[date]) -> date:
    """The day up to which everything arrives at once, as a new shop brings its history."""
    return plan[len(BACK_FILLED)]


def _simulated(project: Project, users: int, days: int, seed: int) -> Arrivals:
    """The shop is made in a process of its own: its memory, several times what a run needs, goes with that process."""
    from simulator.shop import LAST_DAY

    plan = _plan(LAST_DAY)
    truth = project.folder / "truth"
    if not (truth / "made").exists():
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            pool.submit(write_shop, project.inbox, truth, _first_load(plan), users, days, seed).result()

    def arrive(day: date) -> None:
        waiting = _waiting(truth, day)
        if waiting.exists():
            shutil.copytree(waiting, project.inbox, dirs_exist_ok=True)
            shutil.rmtree(waiting)

    return plan, arrive


def write_shop(inbox: Path, truth: Path, first_load: date, users: int, days: int, seed: int) -> None:
    """Files of a simulated shop: what came by ``first_load`` in the inbox, later days' beside the truth until they arrive."""
    from simulator import shop as sim

    shop = sim.simulate(users=users, days=days, seed=seed)
    for arrival in sim.arrival_days(shop):
        sim.write_arrival(shop, inbox if arrival <= first_load else _waiting(truth, arrival), arrival)
    sim.write_truth(shop, truth)
    (truth / "made").touch()


def _waiting(truth: Path, day: date) -> Path:
    return truth / "later" / day.isoformat()


def _one_day(
    project: Project,
    engine: Engine,
    day: date,
    plan: list[date],
    arrive: Callable[[date], None],
    steps: Steps,
    report: DemoReport,
    audit: Auditor,
) -> None:
    taken = 0
    if day == plan[0] or day > _first_load(plan):
        arrival = max(day, _first_load(plan))
        arrive(arrival)
        received = datetime.combine(arrival + timedelta(days=1), ARRIVED_AT, project.zone_info)
        with steps.step(f"{arrival} ingest") as advance:
            taken = ingest(project, engine, received_at=received, progress=advance, audit_staged=audit).taken
    report.files_taken += taken
    report.days.append(day)
    if day != plan[-1] and not taken and releases.of_day(project.lake, day):
        # Later days' files would have the day run again, with its late rows; a demo need not wait for that.
        report.days_done_before += 1
        return
    done = run(project, engine, day, steps=steps, audit=audit)
    report.days_done_before += done.already_done
    report.warnings = list(done.warnings)


def _audiences(project: Project, engine: Engine, steps: Steps, report: DemoReport) -> None:
    for name in project.audiences:
        with steps.step(f"audience {name}"):
            try:
                made = export(project, name, requested_by="demo", engine=engine)
            except AlertedError as stop:
                report.audiences.append({"name": name, "stopped": str(stop)})
                continue
        report.audiences.append(
            {"name": name, "users": made.built.users, "rows": made.rows, "left_out": made.left_out, "file": made.file}
        )


def _by_part(steps: Steps) -> dict[str, float]:
    """Seconds by part, days added up."""
    found: dict[str, float] = {}
    for t in steps.times:
        part = t.name.split(" ", 1)[1] if t.name[:4].isdigit() else t.name.split(" ", 1)[0]
        found[part] = found.get(part, 0.0) + t.seconds
    return found
