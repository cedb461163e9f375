"""Two workers cannot take one job, a dead one's is taken over, and a request that is repeated is one request."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from portal.queue import LEASE, MOST_ATTEMPTS, Queue
from portal.requests import KINDS, BuildRequest, DeliverRequest, request_of
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import Person
from portal.state.opened import State
from schemas.errors import HuaxiangError, LockedError, NotThereError, UsageError
from tests.portal.conftest import Clock

BEIJING = {"audience": "beijing"}


def person(state: State, login: str) -> Person:
    with state.reading() as session:
        row = row_of_login(session, login)
        assert row is not None
        return person_of(row)


@pytest.fixture
def queue(either: State) -> Queue:
    return Queue(either)


@pytest.fixture
def li(either: State) -> Person:
    return person(either, "marketer")


def test_of_many_workers_at_once_each_job_has_one(queue: Queue, li: Person) -> None:
    asked = {queue.put("audience.build", BEIJING, li, f"key {n}").id for n in range(12)}

    def work(n: int) -> list[str]:
        taken = []
        for _ in range(20):
            held = queue.take(f"worker {n}")
            if held is not None:
                taken.append(held.job.id)
        return taken

    with ThreadPoolExecutor(6) as pool:
        taken = [job for found in pool.map(work, range(6)) for job in found]
    assert sorted(taken) == sorted(asked)


def test_a_job_of_a_dead_worker_is_taken_over_and_the_dead_one_cannot_speak(
    queue: Queue, li: Person, clock: Clock
) -> None:
    job = queue.put("audience.build", BEIJING, li, "1")
    dead = queue.take("dead")
    assert dead is not None and queue.take("other") is None
    clock.pass_by(seconds=LEASE.total_seconds() - 1)
    assert queue.renew(dead, {"seconds": 59}) and queue.take("other") is None
    clock.pass_by(seconds=LEASE.total_seconds())
    heir = queue.take("heir")
    assert heir is not None and heir.job.id == job.id and heir.job.attempts == 2
    assert not queue.renew(dead, {}) and not queue.end(dead, exit_code=1, output="late")
    assert queue.end(heir, exit_code=0, output="{}")
    assert (queue.get(job.id).state, queue.get(job.id).output) == ("done", "{}")


def test_a_worker_of_the_same_name_that_came_back_does_not_speak_for_its_older_self(
    queue: Queue, li: Person, clock: Clock
) -> None:
    queue.put("audience.build", BEIJING, li, "1")
    older = queue.take("host 1")
    clock.pass_by(seconds=LEASE.total_seconds())
    younger = queue.take("host 1")
    assert older is not None and younger is not None
    assert not queue.end(older, exit_code=0, output="") and queue.renew(younger, {})


def test_a_job_that_workers_die_of_ends(queue: Queue, li: Person, clock: Clock) -> None:
    job = queue.put("audience.build", BEIJING, li, "1")
    for _ in range(MOST_ATTEMPTS):
        assert queue.take("w") is not None
        clock.pass_by(seconds=LEASE.total_seconds())
    assert queue.take("w") is None
    assert queue.get(job.id).state == "failed" and "5 workers ended" in queue.get(job.id).output


def test_a_repeated_request_is_the_same_job_also_at_once(queue: Queue, li: Person, either: State) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = {j.id for j in pool.map(lambda _: queue.put("audience.build", BEIJING, li, "click"), range(8))}
    assert len(jobs) == 1 and len(queue.list()) == 1
    other = queue.put("audience.build", BEIJING, person(either, "analyst"), "click")
    assert other.id not in jobs, "a key is the person's own"
    with pytest.raises(UsageError, match="another request"):
        queue.put("audience.build", {"audience": "shanghai"}, li, "click")


def test_a_job_is_seen_and_taken_back_by_its_person_and_by_admins(queue: Queue, li: Person, either: State) -> None:
    job = queue.put("audience.build", BEIJING, li, "1")
    wang, admin = person(either, "analyst"), person(either, "admin")
    for theirs in (lambda: queue.get(job.id, of=wang), lambda: queue.cancel(job.id, wang)):
        with pytest.raises(NotThereError):
            theirs()
    assert queue.get(job.id, of=li) == queue.get(job.id, of=admin)
    assert queue.list(of=wang) == []
    queue.cancel(job.id, li)
    assert queue.take("w") is None
    with pytest.raises(LockedError):
        queue.cancel(job.id, li)


def test_a_delivery_that_waits_is_approved_by_a_second_person(queue: Queue, li: Person, either: State) -> None:
    job = queue.put("audience.deliver", BEIJING, li, "1", approve=True)
    assert queue.take("w") is None
    with pytest.raises(HuaxiangError, match="a second person must"):
        queue.approve(job.id, li)
    queue.approve(job.id, person(either, "admin"))
    with pytest.raises(LockedError):
        queue.refuse(job.id, person(either, "admin"))
    held = queue.take("w")
    assert held is not None and held.job.approved_by == person(either, "admin").id


def test_a_delivery_that_is_refused_is_never_made(queue: Queue, li: Person, either: State) -> None:
    job = queue.put("audience.deliver", BEIJING, li, "1", approve=True)
    queue.refuse(job.id, person(either, "admin"))
    assert queue.take("w") is None and not queue.get(job.id).is_open


def test_what_is_put_back_waits_and_is_taken_again(queue: Queue, li: Person, clock: Clock) -> None:
    queue.put("audience.build", BEIJING, li, "1")
    held = queue.take("w")
    assert held is not None and queue.put_back(held, after=timedelta(seconds=30))
    assert queue.take("w") is None
    clock.pass_by(seconds=30)
    assert queue.take("w") is not None


def test_how_long_a_job_takes_is_told_by_those_before(queue: Queue, li: Person, clock: Clock) -> None:
    assert queue.usual_seconds("audience.build", "beijing") is None
    for n, seconds in enumerate((4, 6, 50)):
        queue.put("audience.build", BEIJING, li, str(n))
        held = queue.take("w")
        clock.pass_by(seconds=seconds)
        assert held is not None and queue.end(held, exit_code=0, output="")
    assert queue.usual_seconds("audience.build", "beijing") == 6


@pytest.mark.parametrize("name", ["../../etc/passwd", "--project=/", "-x", "a b", "", "北京/上海", "x" * 200])
def test_a_name_that_is_a_path_or_an_option_is_no_audience(name: str) -> None:
    for kind in KINDS:
        with pytest.raises(UsageError, match="audience"):
            request_of(kind, {"audience": name})


def test_no_text_of_a_person_becomes_an_option(tmp_path) -> None:  # type: ignore[no-untyped-def]
    build = BuildRequest(audience="beijing", reason="--engine=spark").command(tmp_path, "--again")
    assert build == ["audience", "build", "--reason=--engine=spark", "--by=--again", f"--project={tmp_path}", "--json", "--", "beijing"]  # fmt: skip
    with pytest.raises(UsageError):
        request_of("audience.deliver", {"audience": "beijing", "platform": "--out=/etc"})
    deliver = DeliverRequest(audience="北京", platform="douyin", again=True)
    assert deliver.command(tmp_path, "li")[:4] == ["audience", "export", "--again", "--to=douyin"]
    with pytest.raises(UsageError, match="no kind of job"):
        request_of("shell", {"audience": "beijing"})
