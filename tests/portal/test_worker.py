"""The worker does what the command line does, whatever happens to it in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

import pytest

from portal import worker as workers
from portal.queue import LEASE, Queue
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import Person
from portal.state.opened import State
from portal.worker import Worker, without_personal_data
from project.folder import Project
from tests.portal.conftest import Clock

BEIJING = {"audience": "beijing"}
ROOT = Path(__file__).parents[2]
SLEEPER = "import os, sys, time; open(os.environ['MARK'], 'w').write(str(os.getpid())); time.sleep(60)"
WORKER = f"""
import sys
from pathlib import Path
from portal.state.opened import opened_state
from portal.worker import Worker, work_off
from project.folder import Project
import portal.worker

project = Project.load(Path(sys.argv[1]))
made = Worker.__init__
Worker.__init__ = lambda self, project, state: made(self, project, state, huaxiang=(sys.executable, "-c", {SLEEPER!r}))
work_off(project, opened_state(project.folder, project.settings.portal))
"""


@pytest.fixture
def li(state: State) -> Person:
    return person(state, "marketer")


def person(state: State, login: str) -> Person:
    with state.reading() as session:
        row = row_of_login(session, login)
        assert row is not None
        return person_of(row)


def a_verb_that(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def started(folder: Path, mark: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A worker process whose verb never ends, and that verb's process."""
    environment = {**os.environ, "MARK": str(mark), "PYTHONPATH": str(ROOT)}
    running = subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], env=environment, cwd=ROOT)
    until(lambda: mark.exists() and mark.read_text() != "")
    return running, int(mark.read_text())


def until(holds, seconds: float = 30) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_it_builds_and_delivers_whom_the_command_line_finds(own_folder: Path, state: State, li: Person) -> None:
    queue = Queue(state)
    built = queue.put("audience.build", {**BEIJING, "reason": "首版"}, li, "1")
    sent = queue.put("audience.deliver", BEIJING, li, "2")
    worker = Worker(Project.load(own_folder), state)
    assert worker.work_once() and worker.work_once() and not worker.work_once()
    answer = json.loads(queue.get(built.id).output)[0]
    assert (queue.get(built.id).state, answer["users"]) == ("done", 3)
    delivered = json.loads(queue.get(sent.id).output)[0]
    manifest = json.loads(Path(delivered["manifest"]).read_text(encoding="utf-8"))
    assert (queue.get(sent.id).state, delivered["rows"], manifest["requested_by"]) == ("done", 3, "marketer")


def test_what_cannot_be_built_has_failed_with_the_reason(own_folder: Path, state: State, li: Person) -> None:
    job = Queue(state).put("audience.build", {"audience": "nowhere"}, li, "1")
    Worker(Project.load(own_folder), state).work_once()
    found = Queue(state).get(job.id)
    assert (found.state, found.exit_code) == ("failed", 7)
    assert "no audience 'nowhere'" in json.loads(found.output)["message"]


def test_a_worker_that_is_killed_takes_its_verb_along_and_another_finishes(
    own_folder: Path, state: State, li: Person, tmp_path: Path, clock: Clock
) -> None:
    job = Queue(state).put("audience.build", BEIJING, li, "1")
    running, verb = started(own_folder, tmp_path / "mark")
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    until(lambda: not is_alive(verb))
    assert Queue(state).get(job.id).state == "running"
    # The killed worker wrote by the real clock.
    clock.now = Queue(state).get(job.id).started_at or clock.now
    other = Worker(Project.load(own_folder), state, huaxiang=a_verb_that("print('[]')"))
    assert not other.work_once(), "its lease still runs"
    clock.pass_by(seconds=LEASE.total_seconds() + 1)
    assert other.work_once()
    found = Queue(state).get(job.id)
    assert (found.state, found.attempts, found.output) == ("done", 2, "[]")


def test_a_worker_that_is_told_to_stop_gives_its_job_back(
    own_folder: Path, state: State, li: Person, tmp_path: Path, clock: Clock
) -> None:
    job = Queue(state).put("audience.build", BEIJING, li, "1")
    running, verb = started(own_folder, tmp_path / "mark")
    running.terminate()
    assert running.wait(30) == 0 and not is_alive(verb)
    found = Queue(state).get(job.id)
    assert (found.state, found.attempts) == ("queued", 0)


def test_a_worker_that_lost_its_job_stops_the_verb(
    own_folder: Path, state: State, li: Person, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "RENEWED_EVERY_SECONDS", 0.2)
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    job = Queue(state).put("audience.build", BEIJING, li, "1")
    slow = Worker(Project.load(own_folder), state, huaxiang=a_verb_that(SLEEPER))
    at_work = Thread(target=slow.work_once)
    at_work.start()
    until(lambda: (tmp_path / "mark").exists() and (tmp_path / "mark").read_text() != "")
    # As after a sleep longer than the lease: somebody else has it by then.
    with state.writing() as session:
        session.connection().exec_driver_sql("update jobs set worker = 'heir', attempts = attempts + 1")
    at_work.join(30)
    assert not at_work.is_alive() and not is_alive(int((tmp_path / "mark").read_text()))
    found = Queue(state).get(job.id)
    assert (found.state, found.output, found.attempts) == ("running", "", 2), "the heir's, as it was"


def test_a_verb_that_finds_its_table_held_is_run_again_later(
    own_folder: Path, state: State, li: Person, clock: Clock
) -> None:
    job = Queue(state).put("audience.build", BEIJING, li, "1")
    held = Worker(Project.load(own_folder), state, huaxiang=a_verb_that("raise SystemExit(6)"))
    assert held.work_once() and not held.work_once()
    assert Queue(state).get(job.id).state == "queued"
    clock.pass_by(seconds=10)
    assert held.work_once()
    clock.pass_by(hours=3)
    assert held.work_once()
    assert Queue(state).get(job.id).state == "failed", "not for ever"


def test_a_large_delivery_waits_for_a_second_person_even_when_nobody_asked_for_that(
    own_folder: Path, state: State, li: Person
) -> None:
    settings = own_folder / "huaxiang.yaml"
    settings.write_text(settings.read_text() + "portal: {approval: {above_users: 2, outside: true}}\n")
    queue = Queue(state)
    sent = queue.put("audience.deliver", BEIJING, li, "1")
    worker = Worker(Project.load(own_folder), state, huaxiang=a_verb_that("print('sent')"))
    assert worker.work_once() and not worker.work_once()
    assert queue.get(sent.id).state == "waiting"
    queue.approve(sent.id, person(state, "admin"))
    assert worker.work_once() and queue.get(sent.id).output == "sent"
    outside = queue.put("audience.deliver", {**BEIJING, "platform": "douyin"}, li, "2")
    queue.put("audience.build", BEIJING, li, "3")
    assert worker.work_once() and worker.work_once()
    assert queue.get(outside.id).state == "waiting"


def test_a_verb_that_says_very_much_is_heard_to_its_end(own_folder: Path, state: State, li: Person) -> None:
    job = Queue(state).put("audience.build", BEIJING, li, "1")
    loud = "import sys\nfor n in range(40_000): print('line', n)\nprint('x' * 3_000_000, file=sys.stderr)\nprint('end')"
    Worker(Project.load(own_folder), state, huaxiang=a_verb_that(loud)).work_once()
    said = Queue(state).get(job.id).output
    assert said.endswith("\nend") and len(said) <= workers.LONGEST_OUTPUT


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("row 7: 13800138000 is no city", "row 7: 138******00 is no city"),
        ("li.ming@example.org", "l***@example.org"),
        ("id 11010119900307123X", "id 110********3X"),
        ('"users": 3, "bytes": 1234567890123, "at": "2026-01-31T09:00:00"', None),
        ("checksum 1380013800012ab", None),
    ],
)
def test_output_is_kept_without_personal_data(said: str, kept: str | None) -> None:
    assert without_personal_data(said) == (kept or said)
