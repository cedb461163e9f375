"""The DAGs in a real Airflow: two days of a small shop, then the first day again."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from jobs.steps import STEPS
from project import setup
from schemas.contracts import taken_together
from simulator import shop as sim
from tests.airflow.standalone import ROOT, Airflow
from tests.conftest import missing

pytestmark = [pytest.mark.airflow, pytest.mark.slow]
INGESTS = tuple(f"ingest_{name}" for name in taken_together())
DAYS = [str(sim.LAST_DAY - timedelta(days=1)), str(sim.LAST_DAY)]


def huaxiang(project: Path, *arguments: str) -> Any:
    """What a verb answers, as JSON."""
    command = [sys.executable, "-m", "cli.main", *arguments, "--json"]
    environment = {**os.environ, "HUAXIANG_PROJECT": str(project)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def deliver(project: Path, shop: Any, first: bool, day: str) -> None:
    """Puts a day's files into the inbox; on the first day all that came before as well."""
    for arrival in sim.arrival_days(shop):
        if str(arrival) == day or (first and str(arrival) < day):
            sim.write_arrival(shop, project / "inbox", arrival)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "project"
    setup.init(folder)
    for audience in sorted((folder / "audiences").glob("*.yaml"))[2:]:
        audience.unlink()
    return folder


def afternoon_zone() -> str:
    """A zone in which it is three in the afternoon, so that no morning's schedule comes due while the test runs."""
    ahead = (15 - datetime.now(UTC).hour + 12) % 24 - 12
    return f"Etc/GMT{-ahead:+d}"


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Airflow]:
    if importlib.util.find_spec("airflow") is None:
        missing("the extra airflow is not installed: make setup-airflow")
    environment = {
        "HUAXIANG_COMMAND": f"{sys.executable} -m cli.main",
        "HUAXIANG_PROJECT": str(project),
        "PYTHONPATH": str(ROOT),
        "RUST_LOG": "error",
        "HUAXIANG_TIME_ZONE": afternoon_zone(),
    }
    plugins = tmp_path_factory.mktemp("plugins")
    (plugins / "huaxiang.py").write_text("from portal.airflow_plugin import PortalPlugin\n", encoding="utf-8")
    environment["AIRFLOW__CORE__PLUGINS_FOLDER"] = str(plugins)
    with Airflow(tmp_path_factory.mktemp("airflow"), environment) as started:
        started.ready(dags=len(INGESTS) + 3)
        yield started


def one_day(airflow: Airflow, day: str, times: int) -> None:
    """The morning's DAGs for a day; the rest must follow by itself, ``times`` in all so far."""
    for dag in INGESTS:
        airflow.trigger(dag, day)
    for dag in (*INGESTS, "profile_daily", "audience_exports"):
        runs = airflow.wait(dag, day, times)
        states = [r["state"] for r in runs]
        assert states == ["success"] * times, f"{dag} for {day}: {states}\n{airflow.logs()}"


def rows(project: Path) -> dict[str, int]:
    """How much every table that a run writes holds."""
    tables = (
        "silver.orders",
        "silver.browse",
        "silver.shares",
        "silver.members",
        "profile.profile",
        "activity.activity",
    )
    counts = " union all ".join(f"select '{t}' as name, count(*) as n from {t}" for t in tables)
    return {r["name"]: r["n"] for r in huaxiang(project, "sql", counts)}


def test_two_days_and_the_first_again(airflow: Airflow, project: Path) -> None:
    shop = sim.simulate(users=200, days=40, seed=11)
    for i, day in enumerate(DAYS):
        deliver(project, shop, i == 0, day)
        one_day(airflow, day, times=1)
    audiences = {a["audience"] for a in huaxiang(project, "audience", "list")}
    exports = airflow.runs("audience_exports", DAYS[1])[0]
    tasks = airflow.tasks("audience_exports", exports["dag_run_id"])
    assert {t["rendered_map_index"] for t in tasks if t["task_id"] == "export"} == audiences

    released = [r["as_of"] for r in huaxiang(project, "release", "list")]
    assert sorted(set(released)) == DAYS
    before = rows(project)
    assert before["profile.profile"] > 0

    one_day(airflow, DAYS[0], times=2)
    assert rows(project) == before
    latest = [r["as_of"] for r in huaxiang(project, "release", "list") if r["latest"]]
    assert latest == [DAYS[1]]
    # Audiences of the newer day are not undone.
    again = airflow.runs("audience_exports", DAYS[0])[-1]
    tasks = airflow.tasks("audience_exports", again["dag_run_id"])
    assert {t["state"] for t in tasks if t["task_id"] == "export"} == {"skipped"}

    # The lake is tidied and verified, and reads as before.
    released = huaxiang(project, "release", "list")
    airflow.trigger("lake_care", None)
    [cared] = airflow.wait("lake_care", None, 1)
    assert cared["state"] == "success", airflow.logs()
    tasks = sorted(airflow.tasks("lake_care", cared["dag_run_id"]), key=lambda t: t["start_date"])
    assert [(t["task_id"], t["state"]) for t in tasks] == [("tidy", "success"), ("verify", "success")]
    assert rows(project) == before
    assert huaxiang(project, "release", "list") == released


def test_the_portal_stands_in_airflows_menu_behind_its_sign_in(airflow: Airflow) -> None:
    found = airflow.call("GET", "/api/v2/plugins")["plugins"]
    [plugin] = [p for p in found if p["name"] == "huaxiang_portal"]
    [view] = plugin["external_views"]
    assert (view["href"], view["destination"]) == ("/huaxiang/", "nav")

    with httpx.Client(base_url=f"http://localhost:{airflow.port}", timeout=60) as stranger:
        for way in ("/huaxiang/", "/huaxiang/admin", "/huaxiang/sign-in", "/huaxiang/healthz"):
            sent = stranger.get(way)
            assert sent.status_code == 303 and "/auth/token/login?next=" in sent.headers["location"], way
            forged = stranger.get(way, headers={"Cookie": "_token=forged"})
            assert forged.status_code == 303 and "/auth/token/login?next=" in forged.headers["location"], way
        assert stranger.post("/huaxiang/sign-in", data={"login": "admin", "password": "x" * 12}).status_code == 401

    signed_in = {"_token": airflow.token}
    with httpx.Client(base_url=f"http://localhost:{airflow.port}", cookies=signed_in, timeout=60) as person:
        assert person.get("/huaxiang/").headers["location"] == "/huaxiang/sign-in?next=%2F"
        entered = person.get("/huaxiang/sign-in")
        assert entered.status_code == 303, entered.text
        assert "Path=/huaxiang;" in entered.headers["set-cookie"]
        page = person.get("/huaxiang/admin")
        assert page.status_code == 200 and "anonymous" in page.text, "an admin of Airflow's is one here"
        assert "/huaxiang/static/portal.css" in page.text
        assert "frame-ancestors 'self'" in page.headers["content-security-policy"]
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert token
        password = {"login": "li", "role": "viewer"}
        assert person.post("/huaxiang/admin/people", data=password).status_code == 403, "without the form's token"
        assert person.post("/huaxiang/admin/people", data={**password, "csrf": token[1]}).status_code == 200
        session = {"huaxiang_session": person.cookies["huaxiang_session"]}
    with httpx.Client(base_url=f"http://localhost:{airflow.port}", cookies=session, timeout=60) as left:
        assert left.get("/huaxiang/admin").status_code == 303, "who left Airflow has left the portal"


def test_every_dag_says_what_it_does_and_every_task_has_an_owner_retries_and_a_limit(airflow: Airflow) -> None:
    for dag in airflow.call("GET", "/api/v2/dags")["dags"]:
        details = airflow.call("GET", f"/api/v2/dags/{dag['dag_id']}/details")
        assert details["doc_md"].startswith("###")
        if dag["dag_id"] == "profile_daily":
            assert [s for s in STEPS if f"- {s.name}: " not in details["doc_md"]] == []
        for task in airflow.call("GET", f"/api/v2/dags/{dag['dag_id']}/tasks")["tasks"]:
            assert task["owner"] == "data-engineering"
            assert task["retries"] == 3
            assert task["execution_timeout"] is not None
