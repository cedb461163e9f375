"""The portal's state, opened: connections, transactions and migrations of SQLite or PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, make_url, text
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from project.portal_settings import PortalSettings
from schemas.errors import ConfigurationError

MIGRATIONS = Path(__file__).with_name("migrations")
MIGRATED_BY_ONE = 7_305_211
"""Number of the lock of PostgreSQL that whoever migrates holds."""
BUSY_MS = 10_000
AT_ONCE = "begin_immediate"


def _now() -> datetime:
    return datetime.now(UTC)


class State:
    """``reading`` and ``writing`` are transactions; what writes on SQLite takes the file at its begin, so that none fails midway."""

    def __init__(self, url: URL, now: Callable[[], datetime] = _now):
        self.now = now
        self.engine = _engine(url)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._writes = sessionmaker(self.engine.execution_options(**{AT_ONCE: True}), expire_on_commit=False)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Session]:
        with self._reads.begin() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        with self._writes.begin() as session:
            yield session

    def migrate(self) -> None:
        """Bring the tables to what this version needs; of several that start at once, one does it."""
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        with self.writing() as session:
            connection = session.connection()
            if not self.is_sqlite:
                connection.execute(text("select pg_advisory_xact_lock(:n)"), {"n": MIGRATED_BY_ONE})
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def is_ready(self) -> bool:
        """Whether the state answers."""
        try:
            with self.reading() as session:
                session.execute(text("select 1 from people limit 1"))
        except OperationalError:
            return False
        return True

    def close(self) -> None:
        self.engine.dispose()


def opened_state(folder: Path, settings: PortalSettings, now: Callable[[], datetime] = _now) -> State:
    """The state of a project's portal, brought up to date. ConfigurationError where it cannot be reached."""
    url = _url(folder, settings)
    state = State(url, now)
    try:
        state.migrate()
    except OperationalError as e:
        said = str(e.orig).strip().splitlines()
        raise ConfigurationError(
            f"portal.state: {url.render_as_string(hide_password=True)} cannot be opened: {said[0] if said else e}"
        ) from None
    if state.is_sqlite:
        Path(str(url.database)).chmod(0o600)
    return state


def _url(folder: Path, settings: PortalSettings) -> URL:
    if urlsplit(settings.state).scheme != "postgresql":
        path = folder / settings.state
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return URL.create("sqlite", database=str(path))
    found = make_url(settings.state).set(drivername="postgresql+psycopg")
    password = os.environ.get(settings.state_password)
    return found.set(password=password) if password else found


def _engine(url: URL) -> Engine:
    engine = create_engine(url, pool_pre_ping=True, pool_size=20, max_overflow=20)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepared)
        event.listen(engine, "begin", _begun)
    return engine


def _prepared(connection: Any, _: Any) -> None:
    # Python's own module would begin transactions later than asked; they begin in ``_begun``.
    connection.isolation_level = None
    for pragma in ("journal_mode = wal", "synchronous = normal", "foreign_keys = on", f"busy_timeout = {BUSY_MS}"):
        connection.execute(f"pragma {pragma}")


def _begun(connection: Connection) -> None:
    at_once = connection.get_execution_options().get(AT_ONCE)
    connection.exec_driver_sql("begin immediate" if at_once else "begin")
