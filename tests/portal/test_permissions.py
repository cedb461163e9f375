"""Which role may use which route: every route that there is, and what forgers, strangers and machines get."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Response
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from portal.app import create_app
from portal.sign_in.gate import DECLARED
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import PERMISSIONS, ROLE_MAY, Permission
from portal.sign_in.secrets import digest
from portal.sign_in.tokens import add_token
from portal.state.opened import State
from portal.state.tables import SessionRow
from project.folder import Project
from tests.portal.conftest import ADDRESS, Enter, csrf_of, sign_in_as

OPEN_TO_ALL = {
    "/healthz",
    "/readyz",
    "/static/{name}",
    "/sign-in",
    "/sign-in/oidc",
    "/sign-in/oidc/return",
    "/api/v1/openapi.json",
}
"""Everything that answers who has not signed in. A further entry is a decision."""
IN = "in"
READS = {"GET", "HEAD"}


@dataclass(frozen=True)
class Way:
    """A route by one of its methods."""

    method: str
    path: str
    gates: tuple[Permission | None, ...]
    is_api: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def ask(self, client: TestClient, **headers: str) -> Response:
        """With something in the place of every parameter."""
        return client.request(self.method, re.sub(r"\{[^}]*\}", "1", self.path), headers=headers)  # type: ignore[return-value]


def gates(dependant: Dependant) -> Iterator[Permission | None]:
    for below in dependant.dependencies:
        if below.call in DECLARED:
            yield DECLARED[below.call]
        yield from gates(below)


def ways(app: FastAPI) -> list[Way]:
    found = []
    for route in app.routes:
        assert isinstance(route, APIRoute), f"{route} is no route that a gate can stand before"
        declared = tuple(gates(route.dependant))
        found += [Way(m, route.path, declared, route.path.startswith("/api/")) for m in sorted(route.methods)]
    return found


@pytest.fixture
def app(own_folder: Path, state: State) -> FastAPI:
    """The portal, of which every route says that one is in instead of working."""
    app = create_app(Project.load(own_folder), state=state)

    def sits(**_: Any) -> Response:
        return Response(IN)

    async def sits_async(**_: Any) -> Response:
        return Response(IN)

    for route in app.routes:
        assert isinstance(route, APIRoute)
        if route.path not in OPEN_TO_ALL:
            route.dependant.call = sits_async if inspect.iscoroutinefunction(route.endpoint) else sits
    return app


def is_in(answer: Any) -> bool:
    """Past the gate: what is asked for may still lack a field."""
    return bool(answer.text == IN or answer.status_code == 422)


def test_every_route_names_its_permission(app: FastAPI) -> None:
    found = ways(app)
    assert len(found) > 15
    assert {str(w) for w in found if len(w.gates) == 0} == set()
    assert {w.path for w in found if None in w.gates} == OPEN_TO_ALL


@pytest.mark.parametrize("role", ROLE_MAY)
def test_a_role_gets_where_its_permissions_lead_and_nowhere_else(app: FastAPI, role: str) -> None:
    client = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
    sign_in_as(client, role)
    wrong, may = [], ROLE_MAY[role]  # type: ignore[index]
    token = _csrf(app, client)
    for way in ways(app):
        if way.path in OPEN_TO_ALL or way.path == "/sign-out":
            continue
        answer = way.ask(client, **{"X-CSRF-Token": token})
        if all(g in may for g in way.gates) != is_in(answer) or (not is_in(answer) and answer.status_code != 403):
            wrong.append(f"{way}: {answer.status_code}")
    assert wrong == []


def _csrf(app: FastAPI, client: TestClient) -> str:
    """The token of the session, as the state has it."""
    with app.state.portal.state.reading() as session:
        row = session.get(SessionRow, digest(client.cookies["huaxiang_session"]))
        return str(row.csrf)


def test_a_stranger_gets_nowhere(app: FastAPI) -> None:
    stranger = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
    for way in ways(app):
        if way.path not in OPEN_TO_ALL:
            answer = way.ask(stranger)
            assert answer.status_code == (401 if way.is_api else 303), way
            assert way.is_api or answer.headers["location"].startswith("/sign-in"), way


def test_what_writes_wants_the_token_of_its_own_session(app: FastAPI) -> None:
    admin, other = (TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False) for _ in "ab")
    for client in (admin, other):
        sign_in_as(client, "admin")
    mine, others = _csrf(app, admin), _csrf(app, other)
    assert mine != others
    writes = [w for w in ways(app) if w.method not in READS and w.path not in OPEN_TO_ALL]
    assert writes
    for way in writes:
        for forged in ({}, {"X-CSRF-Token": ""}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": others}):
            assert way.ask(admin, **forged).status_code == 403, way
        assert way.ask(admin, **{"X-CSRF-Token": mine, "Sec-Fetch-Site": "cross-site"}).status_code == 403, way
        assert is_in(way.ask(admin, **{"X-CSRF-Token": mine, "Sec-Fetch-Site": "same-origin"})), way


def test_a_cookie_or_token_that_was_made_up_is_nobodys(app: FastAPI, state: State) -> None:
    for forged in ("x", "../state.db", "' or 1=1 --", "admin", "a" * 4000):
        client = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
        client.cookies.set("huaxiang_session", forged)
        assert client.get("/tags").status_code == 303
        client.cookies.clear()
        assert client.get("/tags", headers={"Authorization": f"Bearer hxp_{forged}"}).status_code == 303


def test_a_token_of_the_api_opens_no_page_and_a_role_cannot_be_sent_along(app: FastAPI, state: State) -> None:
    with state.reading() as session:
        row = row_of_login(session, "admin")
        assert row is not None
        admin = person_of(row)
    secret = add_token(state, admin, "all", PERMISSIONS, days=1)
    client = TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
    assert client.get("/tags", headers={"Authorization": f"Bearer {secret}"}).status_code == 303
    sign_in_as(client, "viewer")
    client.cookies.set("role", "admin")
    answer = client.get("/users?role=admin", headers={"X-Role": "admin", "X-Forwarded-User": "admin"})
    assert answer.status_code == 403


def test_a_form_of_before_the_sign_in_is_worth_nothing_after_it(enter: Enter) -> None:
    client = enter()
    before = csrf_of(client, "/sign-in")
    sign_in_as(client, "viewer")
    assert client.post("/sign-out", data={"csrf": before}).status_code == 403
    assert client.post("/sign-out", data={"csrf": csrf_of(client)}).status_code == 303
