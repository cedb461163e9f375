"""One portal over one hand-made released shop for all tests of it, and people of every role to ask it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from portal.api.answers import VERSION
from portal.app import create_app
from portal.sign_in import secrets
from portal.sign_in.people import add_person, person_of, row_of_login
from portal.sign_in.roles import ROLE_MAY
from portal.sign_in.tokens import add_token
from portal.state.opened import State, opened_state
from portal.state.tables import PersonRow
from project.folder import Project
from project.portal_settings import PortalSettings
from tests.audiences.lake_shop import beijing_shop
from tests.conftest import missing
from tests.postgres import PostgresServer, programs

PASSWORD = "correct horse battery"
ADDRESS = "http://localhost"
Enter = Callable[..., TestClient]


@pytest.fixture(scope="session", autouse=True)
def _cheap_passwords() -> Iterator[None]:
    """Tests sign in hundreds of times: a digest of the same kind that takes no 64 MB and no tenth of a second."""
    real = secrets._HASHER
    secrets._HASHER = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    secrets._nobodys.cache_clear()
    yield
    secrets._HASHER = real
    secrets._nobodys.cache_clear()


class Clock:
    """The time as the state has it; it passes when a test says so."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 31, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **parts: float) -> None:
        self.now += timedelta(**parts)


@pytest.fixture(scope="session")
def shop_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made shop; nobody writes into it."""
    return beijing_shop(tmp_path_factory.mktemp("portal") / "shop").folder


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with one person of each role, named as it, all with the same password."""
    folder = tmp_path_factory.mktemp("state")
    state = opened_state(folder, Project.load(folder_with_settings(folder)).settings.portal)
    for role in ROLE_MAY:
        add_person(state, role, role, PASSWORD)
    state.close()
    return folder / "portal" / "state.db"


def folder_with_settings(folder: Path, text: str = "name: {zh: 店, en: Shop}\n") -> Path:
    (folder / "huaxiang.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def own_folder(shop_folder: Path, empty_state: Path, tmp_path: Path) -> Path:
    """A copy of the shop with people, which a test may write into."""
    folder = tmp_path / "shop"
    shutil.copytree(shop_folder, folder)
    (folder / "portal").mkdir()
    shutil.copy(empty_state, folder / "portal" / "state.db")
    return folder


@pytest.fixture
def state(own_folder: Path, clock: Clock) -> Iterator[State]:
    found = opened_state(own_folder, Project.load(own_folder).settings.portal, clock)
    yield found
    found.close()


@pytest.fixture
def enter(own_folder: Path, state: State) -> Iterator[Enter]:
    """``enter("marketer")`` is a browser in which that person has signed in; ``enter()`` one in which nobody has."""
    yield from browsers(Project.load(own_folder), state)


def browsers(project: Project, state: State) -> Iterator[Enter]:
    """One ``enter`` over a project; its browsers are closed with it."""
    app = create_app(project, state=state)
    opened: list[TestClient] = []

    def browser(login: str | None = None) -> TestClient:
        client = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
        opened.append(client)
        if login is not None:
            answer = sign_in_as(client, login)
            assert answer.status_code == 303, answer.text
        return client

    yield browser
    for client in opened:
        client.close()


def sign_in_as(client: TestClient, login: str, password: str = PASSWORD):  # type: ignore[no-untyped-def]
    """The answer to a sign-in through the page's own form."""
    form = {"login": login, "password": password, "csrf": csrf_of(client, "/sign-in")}
    return client.post("/sign-in", data=form)


def csrf_of(client: TestClient, page: str = "/") -> str:
    """The token of the forms of a page."""
    found = re.search(r'name="csrf" value="([^"]+)"', client.get(page).text)
    assert found, f"{page} has no form with a token"
    return found[1]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, one for all tests that need it."""
    found = programs()
    if found is None:
        missing("PostgreSQL is not there: .ci/programs.sh installs Debian's")
        raise AssertionError
    server = PostgresServer(found)
    yield server
    server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[State]:
    """An empty state on either database, with a person of each role."""
    address = request.getfixturevalue("postgres").database() if request.param == "postgresql" else "state.db"
    found = opened_state(tmp_path, PortalSettings(state=address), clock)
    with found.writing() as session:
        for role in ROLE_MAY:
            session.add(PersonRow(login=role, role=role, created_at=found.now()))
    yield found
    found.close()


@pytest.fixture
def program(own_folder: Path, state: State) -> Iterator[Enter]:
    """``program("marketer")`` is a program with a token of that person, for all that they may or for ``scopes`` alone."""
    app = create_app(Project.load(own_folder), state=state)
    opened: list[TestClient] = []

    def calling(login: str, *scopes: str) -> TestClient:
        with state.reading() as session:
            row = row_of_login(session, login)
            assert row is not None
            person = person_of(row)
        token = add_token(state, person, "test", scopes or person.permissions, days=1)
        headers = {"Authorization": f"Bearer {token}"}
        opened.append(TestClient(app, f"{ADDRESS}{VERSION}", headers=headers, raise_server_exceptions=False))
        return opened[-1]

    yield calling
    for client in opened:
        client.close()
