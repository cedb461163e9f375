"""The portal's own state, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic import ValidationError
from sqlalchemy import text

from portal.access import accesses, looked_at, looks_since, note_access
from portal.state.opened import State, opened_state
from portal.state.tables import PersonRow, StateTable
from project.folder import Project
from project.portal_settings import PortalSettings
from schemas.errors import ConfigurationError
from tests.portal.conftest import Clock, folder_with_settings


def test_the_migrations_make_the_tables_that_the_code_knows(either: State) -> None:
    with either.reading() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
        assert compare_metadata(context, StateTable.metadata) == []


def test_a_second_start_changes_nothing_and_what_was_there_stays(either: State) -> None:
    either.migrate()
    with either.reading() as session:
        assert session.query(PersonRow).count() == 4


def test_portals_that_start_at_once_migrate_once(tmp_path: Path) -> None:
    def start(_: int) -> bool:
        state = opened_state(tmp_path, PortalSettings())
        ready = state.is_ready()
        state.close()
        return ready

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(start, range(4))) == [True] * 4


def test_an_instant_comes_back_as_it_was_whatever_zone_it_was_said_in(either: State) -> None:
    said = datetime(2026, 1, 31, 23, 30, tzinfo=timezone(timedelta(hours=8)))
    with either.writing() as session:
        session.add(PersonRow(login="li", role="viewer", created_at=said))
    with either.reading() as session:
        row = session.query(PersonRow).filter_by(login="li").one()
        assert row.created_at == said and row.created_at.tzinfo == UTC


def test_writers_at_once_all_get_through(either: State) -> None:
    def look(_: int) -> None:
        for _ in range(10):
            looked_at(either, "tag", "gender")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(look, range(8)))
    assert looks_since(either, "tag", 1) == {"gender": 80}


def test_looks_are_counted_by_day(either: State, clock: Clock) -> None:
    looked_at(either, "tag", "gender")
    clock.pass_by(days=6)
    looked_at(either, "tag", "gender")
    looked_at(either, "audience", "gender")
    assert looks_since(either, "tag", 7) == {"gender": 2}
    assert looks_since(either, "tag", 6) == {"gender": 1}
    assert looks_since(either, "tag", 1, date(2026, 1, 31)) == {"gender": 1}


def test_the_access_log_gives_the_newest_first_and_goes_back(either: State, clock: Clock) -> None:
    for n in range(5):
        clock.pass_by(minutes=1)
        note_access(either, "li" if n % 2 else "wang", "card", f"uid {n}", "问询")
    newest = accesses(either, most=2)
    assert [a.subject for _, a in newest] == ["uid 4", "uid 3"]
    assert [a.subject for _, a in accesses(either, before=newest[-1][0], login="li")] == ["uid 1"]


def test_a_state_that_cannot_be_reached_is_said_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUAXIANG_STATE_PASSWORD", "hunter2")
    settings = PortalSettings(state=f"postgresql://li@/portal?host={tmp_path}")
    with pytest.raises(ConfigurationError, match=r"portal\.state: .* cannot be opened") as told:
        opened_state(tmp_path, settings)
    assert "hunter2" not in str(told.value)


def test_the_file_of_the_state_is_its_owners_alone(tmp_path: Path) -> None:
    opened_state(tmp_path, PortalSettings()).close()
    assert (tmp_path / "portal" / "state.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("base_path: portal", "begins with /"),
        ("state: 'mysql://h/d'", "not mysql"),
        ("state: 'postgresql://li:pw@h/d'", "holds no password"),
        ("sign_in: [proxy]", "section proxy: that says how is missing"),
        ("sign_in: []", "names no way in"),
        ("proxy: {networks: [0.0.0.0/0]}", "every address there is"),
        ("sesion_hours: 3", "did you mean 'session_hours'"),
    ],
)
def test_a_mistake_in_the_settings_is_told_with_its_line(tmp_path: Path, said: str, told: str) -> None:
    folder = folder_with_settings(tmp_path, f"portal:\n  {said}\n")
    with pytest.raises(ConfigurationError, match=told) as raised:
        Project.load(folder)
    assert "huaxiang.yaml:" in str(raised.value)


def test_settings_without_a_file_hold_together() -> None:
    with pytest.raises(ValidationError):
        PortalSettings(sign_in=("oidc",))


def test_a_read_of_the_state_keeps_no_writer_waiting(either: State) -> None:
    with either.reading() as reader:
        reader.execute(text("select count(*) from people"))
        looked_at(either, "tag", "gender")
    assert looks_since(either, "tag", 1) == {"gender": 1}
