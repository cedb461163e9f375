"""Tables of the portal's own state. Times are kept in UTC; a secret is kept as its digest only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from sqlalchemy import DateTime, Dialect, ForeignKey, Index, String, Text, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Moment(TypeDecorator[datetime]):
    """An instant in UTC; SQLite keeps no zone, so none is written there and UTC is read."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        there = value.astimezone(UTC)
        return there.replace(tzinfo=None) if dialect.name == "sqlite" else there

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StateTable(DeclarativeBase):
    """Base of all tables; every constraint has a name, so that a migration can find it."""

    type_annotation_map: ClassVar = {datetime: Moment, str: String(200)}


class PersonRow(StateTable):
    """One row a person who may sign in. ``origin`` says who vouches: password, oidc, proxy or airflow."""

    __tablename__ = "people"
    __table_args__ = (UniqueConstraint("login", name="uq_people_login"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    login: Mapped[str]
    name: Mapped[str] = mapped_column(default="")
    role: Mapped[str] = mapped_column(String(20))
    origin: Mapped[str] = mapped_column(String(20), default="password")
    subject: Mapped[str | None]
    """Who the person is for the provider, with its issuer: a login may change hands there, a subject never."""
    password_hash: Mapped[str | None] = mapped_column(Text)
    is_active: Mapped[bool] = mapped_column(default=True)
    language: Mapped[str | None] = mapped_column(String(5))
    theme: Mapped[str | None] = mapped_column(String(10))
    failures: Mapped[int] = mapped_column(default=0)
    locked_until: Mapped[datetime | None]
    created_at: Mapped[datetime]


class SessionRow(StateTable):
    """One row a sign-in. ``id`` is the digest of what the cookie holds."""

    __tablename__ = "sessions"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", name="fk_sessions_person", ondelete="CASCADE"))
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class TokenRow(StateTable):
    """One row a token of the API. ``scopes`` are permissions by space; a person's role still bounds them."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("digest", name="uq_tokens_digest"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", name="fk_tokens_person", ondelete="CASCADE"))
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class DraftRow(StateTable):
    """One row a draft of an audience: its newest text; every step before it is kept for undo (``draft_steps``)."""

    __tablename__ = "drafts"
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", name="fk_drafts_person", ondelete="CASCADE"))
    audience: Mapped[str | None]
    """The audience that it is to become a version of; absent while it has no name."""
    base: Mapped[str | None] = mapped_column(String(64))
    """Digest of the file that it began from: another by then means that somebody else saved meanwhile."""
    step: Mapped[int] = mapped_column(default=0)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class DraftStepRow(StateTable):
    """One row a change of a draft, in order; the draft's ``step`` says which of them it stands at."""

    __tablename__ = "draft_steps"
    draft_id: Mapped[str] = mapped_column(
        ForeignKey("drafts.id", name="fk_draft_steps_draft", ondelete="CASCADE"), primary_key=True
    )
    step: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)


class AudienceVersionRow(StateTable):
    """One row a save of an audience from the portal: the whole file as it then was, by whom and why."""

    __tablename__ = "audience_versions"
    audience: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    author: Mapped[str]
    reason: Mapped[str] = mapped_column(Text, default="")
    saved_at: Mapped[datetime]


class JobRow(StateTable):
    """One row a request to build or deliver. ``worker`` holds it until ``lease_until``; later another may take it over."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("person_id", "key", name="uq_jobs_key"),
        Index("ix_jobs_state", "state", "created_at"),
    )
    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id", name="fk_jobs_person"))
    kind: Mapped[str] = mapped_column(String(40))
    arguments: Mapped[str] = mapped_column(Text)
    """JSON."""
    key: Mapped[str]
    """What makes a repeated request the same one; the person's own."""
    state: Mapped[str] = mapped_column(String(20))
    approved_by: Mapped[int | None] = mapped_column(ForeignKey("people.id", name="fk_jobs_approver"))
    progress: Mapped[str] = mapped_column(Text, default="")
    output: Mapped[str] = mapped_column(Text, default="")
    exit_code: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class AccessRow(StateTable):
    """One row a look at personal data, or a download: who, what, of whom (a number, never an id) and for what purpose."""

    __tablename__ = "access_log"
    __table_args__ = (Index("ix_access_log_at", "at"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    login: Mapped[str]
    address: Mapped[str] = mapped_column(String(60), default="")
    what: Mapped[str] = mapped_column(String(60))
    subject: Mapped[str]
    purpose: Mapped[str] = mapped_column(Text, default="")


class LookRow(StateTable):
    """How often a tag, segment or audience was looked at on a day."""

    __tablename__ = "looks"
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    day: Mapped[str] = mapped_column(String(10), primary_key=True)
    looks: Mapped[int] = mapped_column(default=0)
