"""Many people at once in the builder: ``python -m benchmarks.portal_load [--users N] [--people N] [--minutes N] [--record]``.

A made-up shop of a million users is served by the portal's own server, and marketers (``portal_asking.py``, by locust) change
conditions of their drafts, undo, open the builder and ask the API. Kept: the 95th percentile of every kind of request, of one
marketer alone and of all at once, requests and errors, the one-user card asked one after the other, and the server's memory
after the first minute and at the end, whose growth must stay below a tenth. Exit code 1 where something failed or memory grew.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
from rich.console import Console

from benchmarks import preview, records
from benchmarks.load_people import PEOPLE
from benchmarks.workload import DAYS
from portal.drafts import Drafts
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import Person
from portal.sign_in.secrets import digest
from portal.sign_in.sessions import begin_session
from portal.sign_in.tokens import add_token
from portal.state.opened import State, opened_state
from portal.state.tables import PersonRow, SessionRow
from project import setup
from project.folder import Project

ROOT = Path(__file__).parents[1]
DEFINITION = """name: {zh: 试, en: Trial}
description: {zh: 试, en: Trial}
owner: crm
include:
  all:
    - {tag: register_city, is: [city 3, city 11]}
    - {tag: lifecycle, is_not: [prospect, churned]}
    - {tag: net_amount_365d, between: [200, 5000]}
    - {tag: days_since_last_purchase, at_most: 90}
    - {event: browse, within_days: 90, at_least: 3}
"""
STARTED_WITHIN_SECONDS = 120
CARDS = 400
WARM_SECONDS = 60
GROWTH = 1.10
"""The server's memory may be so many times what it was after the first minute."""


def main() -> int:
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="huaxiang-portal-", dir=options.folder) as below:
        folder = Path(below) / "shop"
        _made(folder, options.users)
        project = Project.load(folder)
        state = opened_state(folder, project.settings.portal)
        people = [_marketer(project, state, n) for n in range(options.people)]
        asking = Path(below) / "people.json"
        asking.write_text(json.dumps(people, ensure_ascii=False), encoding="utf-8")
        with served(folder) as (address, process):
            found = records.heading(options.users, DAYS) | {"people": options.people, "minutes": options.minutes}
            cards = _cards(address, people[0]["token"], options.users)
            alone = _asked(address, asking, 1, 30)
            memory: list[float] = []
            with _watched(process, memory):
                together = _asked(address, asking, options.people, round(60 * options.minutes))
        state.close()
    first = memory[min(WARM_SECONDS, len(memory) // 2) - 1]
    found |= {"card_p50_ms": _at(cards, 50), "card_p95_ms": _at(cards, 95)}
    found |= {f"alone_{_word(name)}_p95_ms": _percentile(one, 95) for name, one in alone.items()}
    found |= {f"{_word(name)}_p95_ms": _percentile(one, 95) for name, one in together.items()}
    found |= {
        "requests": sum(one["num_requests"] for one in together.values()),
        "errors": sum(one["num_failures"] for one in (*alone.values(), *together.values())),
        "memory_after_a_minute_mb": round(first),
        "memory_at_the_end_mb": round(memory[-1]),
    }
    for key, value in found.items():
        console.print(f"{key.replace('_', ' ')}: {value}")
    judged = [k for k in found if k.endswith("p95_ms")]
    worse = records.settled(console, "portal_load", found, judged, record=options.record)
    return 1 if found["errors"] or memory[-1] > first * GROWTH else worse


def _options() -> argparse.Namespace:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--users", type=int, default=1_000_000, help="of the shop, some 13 rows of behaviour each")
    asked.add_argument("--people", type=int, default=50, help="who are in the builder at once")
    asked.add_argument("--minutes", type=float, default=10.0)
    asked.add_argument("--folder", type=Path, help="where the shop is made (default: the system's folder for such)")
    asked.add_argument("--record", action="store_true")
    return asked.parse_args()


# --- the shop, and who asks ---


def _made(folder: Path, users: int) -> None:
    """The example project over a made-up lake. Every tag of the catalogue has values, so that cards are full."""
    setup.init(folder)
    catalogue = Project.load(folder).catalogue

    def profile(bucket: int, here: int) -> pa.Table:
        rows, draw = preview.profile_of_bucket(bucket, here), np.random.default_rng([11, bucket])
        for column in catalogue.columns:
            if column.name not in rows.column_names:
                rows = rows.append_column(column, _values(column, catalogue.tag(column.name).finite, here, draw))
        return rows

    preview.make("two events", folder, users, profile, catalogue.columns)


def _values(column: pa.Field, finite: Sequence[Any] | None, here: int, draw: np.random.Generator) -> pa.Array:
    """Values of a tag at random, a tenth of them unknown."""
    unknown = draw.random(here) < 0.1
    if pa.types.is_string(column.type):
        words = pa.array([str(v) for v in finite or [f"{column.name} {i}" for i in range(50)]])
        return words.take(pa.array(draw.integers(0, len(words), here), mask=unknown))
    if pa.types.is_boolean(column.type):
        return pa.array(draw.random(here) < 0.5, mask=unknown)
    if pa.types.is_floating(column.type):
        return pa.array(np.round(draw.random(here), 4), column.type, mask=unknown)
    return pa.array(draw.integers(0, 20_000, here).astype(np.int32), pa.int32(), mask=unknown).cast(column.type)


def _marketer(project: Project, state: State, number: int) -> dict[str, str]:
    """Somebody who has signed in, with a draft of their own and a token."""
    login = f"marketer-{number}"
    with state.writing() as session:
        session.add(PersonRow(login=login, role="marketer", created_at=state.now()))
    with state.reading() as session:
        row = row_of_login(session, login)
        assert row is not None
        person: Person = person_of(row)
    cookie = begin_session(state, project.settings.portal, person.id)
    with state.reading() as session:
        kept = session.get(SessionRow, digest(cookie))
        assert kept is not None
        csrf = kept.csrf
    draft = Drafts(state, person.id).begin(DEFINITION, None, None)
    token = add_token(state, person, "load", person.permissions, days=1)
    return {"cookie": cookie, "csrf": csrf, "draft": draft, "token": token, "text": DEFINITION}


# --- the server, and what it is asked ---


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The portal as the command starts it: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "cli.main", "portal", f"--project={folder}", f"--port={port}", "--no-worker"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + STARTED_WITHIN_SECONDS
    try:
        while True:
            try:
                if httpx.get(f"{address}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.2)
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the portal does not answer")
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        try:
            process.wait(STARTED_WITHIN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _cards(address: str, token: str, users: int) -> list[float]:
    """Milliseconds of cards of people at random, once every part of the release was asked for."""
    who = np.random.default_rng(7).integers(0, users, CARDS)
    headers = {"Authorization": f"Bearer {token}"}
    found = []
    with httpx.Client(base_url=address, headers=headers, timeout=60) as client:
        for uid in (*range(0, users, 100_000), *who):
            started = time.perf_counter()
            client.get(f"/api/v1/users/{uid}").raise_for_status()
            found.append(1000 * (time.perf_counter() - started))
    return found[-CARDS:]


def _asked(address: str, people: Path, at_once: int, seconds: int) -> dict[str, dict[str, Any]]:
    """What locust counts by kind of request; the time in which people come in is left out."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "benchmarks" / "portal_asking.py"), "--headless"]
    command += ["--users", str(at_once), "--spawn-rate", "10", "--run-time", f"{seconds}s", "--host", address]
    command += ["--reset-stats", "--json", "--skip-log-setup", "--exit-code-on-error", "0"]
    done = subprocess.run(
        command,
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, PEOPLE: str(people)},
        cwd=ROOT,
        timeout=seconds + STARTED_WITHIN_SECONDS,
    )
    listed = json.loads(done.stdout[done.stdout.index("[") :])
    return {one["name"]: one for one in listed}


@contextmanager
def _watched(process: psutil.Process, megabytes: list[float]) -> Iterator[None]:
    """The server's own memory once a second, what it maps of files left out."""
    over = Event()

    def look() -> None:
        while not over.wait(1):
            about = process.memory_info()
            megabytes.append((about.rss - about.shared) / 2**20)

    watching = Thread(target=look)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _percentile(counted: dict[str, Any], percent: int) -> float:
    """Of locust's counts by rounded milliseconds."""
    times = sorted((float(ms), n) for ms, n in counted["response_times"].items())
    left = sum(n for _, n in times) * percent / 100
    for ms, n in times:
        left -= n
        if left <= 0:
            return ms
    return 0.0


def _at(times: Sequence[float], percent: int) -> float:
    return round(statistics.quantiles(times, n=100)[percent - 1], 2)


def _word(name: str) -> str:
    return name.replace(" ", "_").lower()


if __name__ == "__main__":
    sys.exit(main())
