"""Signing in by a company's provider: a real one on the loopback, truthful and lying."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from joserfc.jwk import RSAKey
from sqlalchemy import select

from portal.app import create_app
from portal.sign_in.people import add_person
from portal.state.opened import State
from portal.state.tables import PersonRow
from project.folder import Project
from tests.portal.conftest import ADDRESS, PASSWORD
from tests.portal.provider import CLIENT, SECRET, OidcServer

RETURN = f"{ADDRESS}/sign-in/oidc/return"
SETTINGS = """portal:
  sign_in: [oidc]
  oidc:
    issuer: {issuer}
    client_id: {client}
    role_claim: groups
    roles: {{crm: marketer, bi: analyst}}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[OidcServer]:
    server = OidcServer()
    server.client.redirect_uris = [RETURN]
    yield server
    server.stop()


@pytest.fixture
def provider(running: OidcServer) -> OidcServer:
    running.user = {"sub": "u-1", "preferred_username": "Wang", "name": "王", "groups": ["crm"]}
    running.lies, running.signs_with = {}, None
    return running


@pytest.fixture
def browser(provider: OidcServer, own_folder: Path, state: State, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setenv("HUAXIANG_OIDC_SECRET", SECRET)
    settings = own_folder / "huaxiang.yaml"
    settings.write_text(settings.read_text() + SETTINGS.format(issuer=provider.issuer, client=CLIENT))
    app = create_app(Project.load(own_folder), state=state)
    return TestClient(app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)


def returned(browser: TestClient, next: str = "/") -> str:
    """Begins at the portal, signs in at the provider; the address that it sends the browser back to."""
    begun = browser.get("/sign-in/oidc", params={"next": next})
    assert begun.status_code == 303, begun.text
    at_provider = httpx.get(begun.headers["location"])
    assert at_provider.status_code == 302, at_provider.text
    return at_provider.headers["location"].removeprefix(ADDRESS)


def row(state: State, login: str) -> PersonRow | None:
    with state.reading() as session:
        return session.scalar(select(PersonRow).where(PersonRow.login == login))


def test_the_provider_lets_in_with_the_role_that_its_groups_give(browser: TestClient, state: State) -> None:
    answer = browser.get(returned(browser, "/?lang=en"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/?lang=en")
    assert browser.get("/").status_code == 200
    wang = row(state, "wang")
    assert wang is not None and (wang.role, wang.origin, wang.password_hash) == ("marketer", "oidc", None)


def test_a_role_follows_the_groups_and_who_has_none_any_more_is_out(
    browser: TestClient, provider: OidcServer, state: State
) -> None:
    browser.get(returned(browser))
    provider.user["groups"] = ["crm", "bi"]
    browser.cookies.clear()
    browser.get(returned(browser))
    wang = row(state, "wang")
    assert wang is not None and wang.role == "analyst", "the strongest of them"
    provider.user["groups"] = ["sales"]
    browser.cookies.clear()
    refused = browser.get(returned(browser))
    assert refused.status_code == 403 and browser.get("/").status_code == 303


def test_nobody_becomes_admin_by_choosing_that_name_at_the_provider(browser: TestClient, provider: OidcServer) -> None:
    provider.user["preferred_username"] = "admin"
    assert browser.get(returned(browser)).status_code == 403
    assert browser.get("/").status_code == 303


def test_a_name_that_changed_hands_at_the_provider_does_not(browser: TestClient, provider: OidcServer) -> None:
    browser.get(returned(browser))
    browser.cookies.clear()
    provider.user["sub"] = "u-2"
    assert browser.get(returned(browser)).status_code == 403


LIES: list[dict[str, Any]] = [
    {"iss": "https://other.example.org"},
    {"aud": "another client"},
    {"nonce": "of another sign-in"},
    {"exp": int(time.time()) - 3600},
    {"sub": None},
]


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: next(iter(lie)))
def test_a_token_that_is_not_for_us_and_for_now_lets_nobody_in(
    browser: TestClient, provider: OidcServer, lie: dict[str, Any]
) -> None:
    provider.lies = lie
    assert browser.get(returned(browser)).status_code == 403
    assert "huaxiang_session" not in browser.cookies
    provider.lies = {}
    assert browser.get(returned(browser)).status_code == 303, "the same without the lie"


def test_a_token_of_another_key_lets_nobody_in(browser: TestClient, provider: OidcServer) -> None:
    provider.signs_with = RSAKey.generate_key(2048)
    assert browser.get(returned(browser)).status_code == 403


def test_an_answer_is_good_once_and_in_the_browser_that_asked(
    browser: TestClient, provider: OidcServer, state: State
) -> None:
    way = returned(browser)
    other = TestClient(browser.app, ADDRESS, follow_redirects=False, raise_server_exceptions=False)
    assert other.get(way).status_code == 403, "somebody was sent a link with another's answer"
    forged = way.replace(parse_qs(urlsplit(way).query)["state"][0], "forged")
    assert browser.get(forged).status_code == 403
    flow = browser.cookies["huaxiang_flow"]
    assert browser.get(way).status_code == 303
    browser.cookies.set("huaxiang_flow", flow)
    assert browser.get(way).status_code == 403, "the provider gave this code once"


def test_a_password_opens_nothing_where_only_the_provider_may(browser: TestClient, state: State) -> None:
    add_person(state, "li", "viewer", PASSWORD)
    page = browser.get("/sign-in").text
    assert 'type="password"' not in page and "/sign-in/oidc" in page
    token = browser.cookies["huaxiang_form"]
    assert browser.post("/sign-in", data={"login": "li", "password": PASSWORD, "csrf": token}).status_code == 404


def test_a_provider_that_does_not_answer_is_said_so(
    browser: TestClient, provider: OidcServer, own_folder: Path
) -> None:
    settings = own_folder / "huaxiang.yaml"
    settings.write_text(settings.read_text().replace(provider.issuer, "http://127.0.0.1:1"))
    app = create_app(Project.load(own_folder), state=browser.app.state.portal.state)  # type: ignore[attr-defined]
    answer = TestClient(app, ADDRESS, raise_server_exceptions=False).get("/sign-in/oidc")
    assert answer.status_code == 422 and "does not answer as a provider" in answer.text
