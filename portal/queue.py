"""The queue: what people asked for, taken by one worker at a time, and by another where that one died.

A worker holds a job by a lease that it renews; whoever lost it finds out at the next renewal and stops. What it ran is safe
to run again: verbs publish once and deliver once, and hold their tables while they do.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from portal.requests import request_of
from portal.sign_in.roles import Person
from portal.state.opened import State
from portal.state.tables import JobRow, PersonRow
from schemas.errors import HuaxiangError, LockedError, NotThereError, UsageError

WAITING, QUEUED, RUNNING, DONE, FAILED, REFUSED = "waiting", "queued", "running", "done", "failed", "refused"
OPEN = (WAITING, QUEUED, RUNNING)
LEASE = timedelta(seconds=60)
MOST_ATTEMPTS = 5
"""After so many workers died of a job it has failed: it would take down the next one too."""
LONGEST_KEY = 200
REMEMBERED = 20
"""How many past jobs of a kind tell how long one usually takes."""


@dataclass(frozen=True)
class Job:
    """A request and what became of it. ``progress`` is what is said while it runs, ``output`` what the verb answered."""

    id: str
    person_id: int
    login: str
    kind: str
    arguments: dict[str, Any]
    state: str
    approved_by: int | None
    progress: dict[str, Any]
    output: str
    exit_code: int | None
    attempts: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


@dataclass(frozen=True)
class HeldJob:
    """A job in the hands of a worker."""

    job: Job
    worker: str


class Queue:
    """The table of jobs, through transactions that two workers, or two clicks, cannot both win."""

    def __init__(self, state: State):
        self.state = state

    def put(self, kind: str, arguments: dict[str, Any], person: Person, key: str, *, approve: bool = False) -> Job:
        """Ask for something; the same ``key`` of the same person gives the job that it gave before.

        ``approve``: a second person must agree first. UsageError for a request that cannot be meant, or a key that was
        another request's.
        """
        asked = request_of(kind, arguments).model_dump(mode="json")
        if not 1 <= len(key) <= LONGEST_KEY:
            raise UsageError(f"a key has 1 to {LONGEST_KEY} characters")
        row = JobRow(id=uuid.uuid4().hex, person_id=person.id, kind=kind, arguments=_json(asked), key=key)
        row.state, row.created_at = WAITING if approve else QUEUED, self.state.now()
        try:
            with self.state.writing() as session:
                before = _of_key(session, person.id, key)
                if before is None:
                    session.add(row)
                    session.flush()
                    return _job(row, person.login)
        except IntegrityError:
            # Another request of the same key was quicker.
            before = None
        with self.state.reading() as session:
            before = before or _of_key(session, person.id, key)
            if before is None:
                raise LockedError("the same request is being written by another; ask again")
            if (before.kind, json.loads(before.arguments)) != (kind, asked):
                raise UsageError("this key was used for another request; give each request its own")
            return _job(before, person.login)

    def get(self, job_id: str, of: Person | None = None) -> Job:
        """NotThereError where there is none, or it is not that person's (an admin sees all)."""
        with self.state.reading() as session:
            found = session.execute(_with_login().where(JobRow.id == job_id)).one_or_none()
            if found is None or (of is not None and not of.may("admin") and found[0].person_id != of.id):
                raise NotThereError(f"no job {job_id!r:.40}")
            return _job(found[0], found[1])

    def list(self, of: Person | None = None, audience: str | None = None, most: int = 100) -> list[Job]:
        """The newest jobs, of a person or of everybody."""
        asked = _with_login().order_by(JobRow.created_at.desc(), JobRow.id).limit(most if audience is None else 1000)
        if of is not None:
            asked = asked.where(JobRow.person_id == of.id)
        with self.state.reading() as session:
            found = [_job(row, login) for row, login in session.execute(asked)]
        return [j for j in found if audience in (None, j.arguments.get("audience"))][:most]

    def usual_seconds(self, kind: str, audience: str) -> float | None:
        """How long such a job took in the past, where there was one."""
        took = [
            (j.ended_at - j.started_at).total_seconds()
            for j in self.list(audience=audience, most=REMEMBERED)
            if j.kind == kind and j.state == DONE and j.started_at and j.ended_at
        ]
        return median(took) if took else None

    def approve(self, job_id: str, person: Person) -> None:
        """A second person agrees. HuaxiangError where it is the same one, LockedError where nothing waits any more."""
        self._decided(job_id, person, QUEUED)

    def refuse(self, job_id: str, person: Person) -> None:
        """A second person does not agree."""
        self._decided(job_id, person, REFUSED)

    def _decided(self, job_id: str, person: Person, state: str) -> None:
        if self.get(job_id).person_id == person.id:
            raise HuaxiangError("who asked for a delivery cannot be the one who approves it; a second person must")
        values: dict[str, Any] = {"state": state, "approved_by": person.id}
        if state == REFUSED:
            values["ended_at"] = self.state.now()
        with self.state.writing() as session:
            if not _changed(session, JobRow.id == job_id, JobRow.state == WAITING, **values):
                raise LockedError("this delivery does not wait for approval any more")

    def cancel(self, job_id: str, person: Person) -> None:
        """Take back what no worker has begun. LockedError where one has."""
        self.get(job_id, of=person)
        with self.state.writing() as session:
            waiting = JobRow.state.in_((WAITING, QUEUED))
            if not _changed(session, JobRow.id == job_id, waiting, state=REFUSED, ended_at=self.state.now()):
                raise LockedError("a worker has begun this job, or it is over")

    def take(self, worker: str) -> HeldJob | None:
        """The oldest job that nobody holds, now held by this worker; None where there is none.

        On PostgreSQL a row that another worker looks at is skipped; on SQLite writers follow each other. On both the
        row is changed only while it still is what was read.
        """
        now = self.state.now()
        free = or_(
            and_(JobRow.state == QUEUED, or_(JobRow.lease_until.is_(None), JobRow.lease_until <= now)),
            and_(JobRow.state == RUNNING, JobRow.lease_until <= now),
        )
        oldest = select(JobRow).where(free).order_by(JobRow.created_at, JobRow.id).limit(1)
        with self.state.writing() as session:
            row = session.scalar(oldest.with_for_update(skip_locked=True))
            if row is None:
                return None
            seen = (JobRow.id == row.id, JobRow.state == row.state, JobRow.attempts == row.attempts)
            if row.attempts >= MOST_ATTEMPTS:
                said = f"{row.attempts} workers ended without an answer while they ran this"
                _changed(session, *seen, state=FAILED, output=said, ended_at=now, worker=None, lease_until=None)
                return None
            values: dict[str, Any] = {"state": RUNNING, "worker": worker, "lease_until": now + LEASE}
            values |= {"attempts": row.attempts + 1, "started_at": row.started_at or now}
            if not _changed(session, *seen, **values):
                return None
            login = session.scalar(select(PersonRow.login).where(PersonRow.id == row.person_id)) or ""
            session.refresh(row)
            return HeldJob(_job(row, login), worker)

    def renew(self, held: HeldJob, progress: dict[str, Any]) -> bool:
        """Hold it for longer and say how far it is; False where another has it by now, and this one must stop."""
        return self._while_held(held, lease_until=self.state.now() + LEASE, progress=_json(progress))

    def end(self, held: HeldJob, *, exit_code: int, output: str) -> bool:
        """Say what became of it; False where another has it by now."""
        state = DONE if exit_code == 0 else FAILED
        return self._while_held(
            held,
            state=state,
            exit_code=exit_code,
            output=output,
            ended_at=self.state.now(),
            lease_until=None,
            worker=None,
        )

    def put_back(self, held: HeldJob, *, after: timedelta = timedelta(0), attempts: int | None = None) -> bool:
        """Give it to the next worker, not before some time; ``attempts``: as if it had been tried so often."""
        values: dict[str, Any] = {"state": QUEUED, "worker": None, "lease_until": self.state.now() + after}
        if attempts is not None:
            values["attempts"] = attempts
        return self._while_held(held, **values)

    def to_approval(self, held: HeldJob) -> bool:
        """A worker found that a second person must agree to what it was given."""
        return self._while_held(held, state=WAITING, worker=None, lease_until=None, attempts=0)

    def _while_held(self, held: HeldJob, **values: Any) -> bool:
        mine = (JobRow.worker == held.worker, JobRow.attempts == held.job.attempts, JobRow.state == RUNNING)
        with self.state.writing() as session:
            return _changed(session, JobRow.id == held.job.id, *mine, **values)


def _changed(session: Session, *where: Any, **values: Any) -> bool:
    """Whether the one row that still is so was changed."""
    found: Any = session.execute(
        update(JobRow).where(*where).values(**values).execution_options(synchronize_session=False)
    )
    assert isinstance(found, CursorResult)
    return found.rowcount == 1


def _with_login() -> Select[JobRow, str]:
    return select(JobRow, PersonRow.login).join(PersonRow, PersonRow.id == JobRow.person_id)


def _of_key(session: Session, person_id: int, key: str) -> JobRow | None:
    return session.scalar(select(JobRow).where(JobRow.person_id == person_id, JobRow.key == key))


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _job(row: JobRow, login: str) -> Job:
    return Job(
        id=row.id,
        person_id=row.person_id,
        login=login,
        kind=row.kind,
        arguments=json.loads(row.arguments),
        state=row.state,
        approved_by=row.approved_by,
        progress=json.loads(row.progress) if row.progress else {},
        output=row.output,
        exit_code=row.exit_code,
        attempts=row.attempts,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
