"""The builder, from a change in a form to the counts: ``python -m benchmarks.builder [--users N] [--changes N] [--record]``.

A made-up shop of users with what they did; one person changes the Beijing audience (a tag, two counts of behaviour, one
that was not done) again and again, every time by something that was not asked before. Milliseconds of the whole answer:
form, draft, text, judging, page; and of this process's processors, which other work on the machine does not change.
"""

from __future__ import annotations

import argparse
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from rich.console import Console

from benchmarks import records
from benchmarks.preview import BRAND
from benchmarks.workload import DAYS, ZONE
from portal.app import create_app
from portal.sign_in.people import add_person
from portal.state.opened import opened_state
from project.folder import SETTINGS_FILE, Project

CONF = Path(__file__).parents[1] / "conf"
PASSWORD = "for the benchmark only"
BEGUN = f"""name: {{zh: 试, en: Trial}}
description: {{zh: 试, en: Trial}}
owner: crm
include:
  all:
    - {{tag: register_city, is: city 3}}
    - {{event: browse, measure: visits, within_days: 90, at_least: 3}}
    - {{event: pay, measure: rows, at_least: 1}}
    - {{event: pay, did: false, within_days: 7, where: {{brand: {BRAND}}}}}
"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--users", type=int, default=1_000_000)
    asked.add_argument("--changes", type=int, default=60)
    asked.add_argument("--folder", type=Path, help="where the shop is made (default: the system's folder for such)")
    asked.add_argument("--record", action="store_true")
    options = asked.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="huaxiang-builder-", dir=options.folder) as below:
        command = [sys.executable, "-m", "benchmarks.preview", "--do", "make", "--name", "two events", "--below", below]
        subprocess.run([*command, "--users", str(options.users)], check=True)
        found = records.heading(options.users, DAYS) | measured(Path(below), options.changes)
    for name, value in found.items():
        console.print(f"{name}: {value}")
    return records.settled(console, "builder", found, ["p95_ms", "p95_cpu_ms"], record=options.record)


def measured(folder: Path, changes: int) -> dict[str, Any]:
    """Milliseconds from a change to its counts, by kind of change and over all."""
    browser, address, csrf = _begun(folder)
    took: dict[str, list[float]] = {"tag": [], "how_often": [], "days": [], "switched": []}
    cpu: list[float] = []
    people = set()
    for i in range(changes):
        # What was not asked before: another city, another number, another window.
        for kind, place, fields in (
            ("tag", 0, {"do": "change", "tag": "register_city", "op.0": "is", "value.0": f"city {i % 290 + 4}"}),
            ("how_often", 1, _visits(90, 2 + i % 9)),
            ("days", 1, _visits(30 + i, 3)),
            ("switched", 2, {"do": "off" if i % 2 == 0 else "on"}),
        ):
            seen = _seen(browser, address, place)
            form = {"csrf": csrf, "at": f"include.all.{place}", "seen": seen, **fields}
            started, used = time.perf_counter(), time.process_time()
            answer = browser.post(address, data=form, headers={"HX-Request": "true"})
            took[kind].append(1000 * (time.perf_counter() - started))
            cpu.append(1000 * (time.process_time() - used))
            people.add(re.findall(r'id="people">([\d,]+)<', answer.text)[0])
    every = [ms for one in took.values() for ms in one]
    return {
        "changes": len(every),
        "different_counts": len(people),
        "median_ms": round(statistics.median(every), 1),
        "p95_ms": round(_p95(every), 1),
        "worst_ms": round(max(every), 1),
        "p95_cpu_ms": round(_p95(cpu), 1),
        **{f"p95_{kind}_ms": round(_p95(one), 1) for kind, one in took.items()},
    }


def _begun(folder: Path) -> tuple[TestClient, str, str]:
    """A browser with a draft of the audience, its address and the token of its forms."""
    for part in ("tags", "methods", "platforms"):
        shutil.copytree(CONF / part, folder / part)
    (folder / "audiences").mkdir()
    (folder / "audiences" / "trial.yaml").write_text(BEGUN, encoding="utf-8")
    settings = f"lake: lake\ntime_zone: {ZONE}\nportal: {{limits: {{requests_per_minute: 1000000}}}}\n"
    (folder / SETTINGS_FILE).write_text(settings, encoding="utf-8")
    project = Project.load(folder)
    state = opened_state(folder, project.settings.portal)
    add_person(state, "crm", "marketer", PASSWORD)
    browser = TestClient(create_app(project, state=state), "http://localhost", follow_redirects=True)
    sign_in = {"login": "crm", "password": PASSWORD, "csrf": _csrf(browser.get("/sign-in").text)}
    browser.post("/sign-in", data=sign_in)
    page = browser.get("/audiences/new?like=trial")
    return browser, page.url.path, _csrf(page.text)


def _visits(days: int, least: int) -> dict[str, str]:
    return {
        "do": "change", "event": "browse", "did": "true", "measure": "visits", "days": "within", "days.from": str(days),
        "op.0": "at_least", "value.0": str(least),
    }  # fmt: skip


def _seen(browser: TestClient, address: str, place: int) -> str:
    found = re.search(
        rf'value="include.all.{place}"><input type="hidden" name="seen" value="(\w+)"', browser.get(address).text
    )
    assert found
    return found[1]


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def _p95(values: list[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


if __name__ == "__main__":
    sys.exit(main())
