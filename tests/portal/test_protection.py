"""What stands before all pages: headers, cookies, locks, pace, sizes, proxies, and clients that never finish."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
import uvicorn
from fastapi.testclient import TestClient

from portal.app import create_app
from portal.serving import served
from portal.sign_in.pace import Pace, TooManyError
from portal.sign_in.people import set_password
from portal.state.opened import State
from project.folder import Project
from tests.portal.conftest import ADDRESS, PASSWORD, Clock, Enter, csrf_of, sign_in_as


def portal_with(
    folder: Path, state: State, settings: str, address: str = ADDRESS, client: str = "10.1.2.3"
) -> TestClient:
    """A browser at a portal with these settings."""
    path = folder / "huaxiang.yaml"
    path.write_text(path.read_text() + f"portal:\n{settings}\n")
    app = create_app(Project.load(folder), state=state)
    return TestClient(app, address, client=(client, 1), follow_redirects=False, raise_server_exceptions=False)


def test_every_answer_says_what_the_browser_must_not_do(enter: Enter) -> None:
    client = enter("viewer")
    for page in ("/", "/sign-in", "/nowhere", "/users", "/healthz", "/static/portal.css"):
        headers = client.get(page).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self';" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert page.startswith("/static") or headers["cache-control"] == "no-store"


def test_cookies_are_for_this_host_only_and_for_https_elsewhere(own_folder: Path, state: State) -> None:
    app = create_app(Project.load(own_folder), state=state)
    here = sign_in_as(TestClient(app, ADDRESS, follow_redirects=False), "viewer").headers["set-cookie"]
    there = TestClient(app, "https://portal.example.org", follow_redirects=False)
    away = sign_in_as(there, "viewer").headers
    assert "HttpOnly" in here and "SameSite=lax" in here and "Secure" not in here
    assert "Secure" in away["set-cookie"] and "Domain" not in away["set-cookie"]
    assert away["strict-transport-security"]


def test_wrong_passwords_lock_a_login_for_a_while_and_the_right_one_waits_too(
    enter: Enter, state: State, clock: Clock
) -> None:
    client = enter()
    for _ in range(5):
        assert sign_in_as(client, "viewer", "wrong horse battery").status_code == 401
    assert sign_in_as(client, "viewer").status_code == 401
    assert sign_in_as(enter(), "marketer").status_code == 303, "others are not locked"
    clock.pass_by(minutes=15)
    assert sign_in_as(client, "viewer").status_code == 303
    for _ in range(5):
        sign_in_as(enter(), "viewer", "wrong horse battery")
    set_password(state, "viewer", PASSWORD)
    assert sign_in_as(enter(), "viewer").status_code == 303, "an admin lifts it"


def test_few_wrong_passwords_are_forgotten_by_the_right_one(enter: Enter) -> None:
    for _ in range(3):
        for _ in range(4):
            sign_in_as(enter(), "viewer", "wrong horse battery")
        assert sign_in_as(enter(), "viewer").status_code == 303


def test_an_address_that_tries_too_many_logins_is_told_to_wait(own_folder: Path, state: State) -> None:
    client = portal_with(own_folder, state, "  limits: {sign_ins_per_minute: 3}")
    codes = [sign_in_as(client, f"somebody{n}").status_code for n in range(5)]
    assert codes == [401, 401, 401, 429, 429]


def test_a_person_who_asks_without_end_is_told_to_wait_and_others_are_not(own_folder: Path, state: State) -> None:
    client = portal_with(own_folder, state, "  limits: {requests_per_minute: 20}")
    sign_in_as(client, "viewer")
    answers = [client.get("/healthz") for _ in range(30)]
    assert [a.status_code for a in answers].count(429) >= 5 and int(answers[-1].headers["Retry-After"]) >= 1
    other = TestClient(client.app, ADDRESS, client=("10.9.9.9", 1))
    assert other.get("/healthz").status_code == 200


def test_the_pace_comes_back_with_time_and_memory_stays_flat() -> None:
    now = [0.0]
    pace = Pace(60, lambda: now[0])
    for _ in range(60):
        pace.ask("li")
    with pytest.raises(TooManyError) as told:
        pace.ask("li")
    assert told.value.seconds == pytest.approx(1)
    now[0] += 1
    pace.ask("li")
    for n in range(60_000):
        pace.ask(f"address {n}")
    assert len(pace._left) == 50_000


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_kept(own_folder: Path, state: State, announced: bool) -> None:
    client = portal_with(own_folder, state, "  limits: {body_mb: 0.1}")
    parts = [b"login=" + b"x" * 60_000, b"y" * 60_000]
    content = b"".join(parts) if announced else iter(parts)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/sign-in", content=content, headers=headers).status_code == 413  # type: ignore[arg-type]


def test_a_header_of_a_person_is_believed_from_the_proxys_network_only(own_folder: Path, state: State) -> None:
    settings = "  sign_in: [proxy]\n  proxy: {networks: [10.1.0.0/16], else_role: viewer}"
    client = portal_with(own_folder, state, settings)
    named = {"X-Forwarded-User": "Zhao"}
    assert client.get("/sign-in", headers=named).headers["location"] == "/"
    assert client.get("/tags", headers=named).status_code == 200
    assert client.get("/tags", headers={"X-Forwarded-User": "qian"}).status_code == 303, "another person by now"
    outside = TestClient(client.app, ADDRESS, client=("10.2.0.1", 1), follow_redirects=False)
    assert outside.get("/sign-in", headers=named).status_code == 200, "the page, and nobody signed in"
    assert outside.get("/tags", headers=named).status_code == 303
    twice = [("X-Forwarded-User", "admin"), ("X-Forwarded-User", "zhao")]
    fresh = TestClient(client.app, ADDRESS, client=("10.1.2.3", 1), follow_redirects=False)
    assert fresh.get("/sign-in", headers=twice).status_code == 200, "one of them is the client's own"
    taken = fresh.get("/sign-in", headers={"X-Forwarded-User": "admin"})
    assert taken.status_code == 403, "an admin by password is not whoever a proxy calls so"


def test_a_header_of_a_person_means_nothing_where_that_is_not_switched_on(own_folder: Path, state: State) -> None:
    client = portal_with(own_folder, state, "  proxy: {networks: [10.1.0.0/16], else_role: admin}")
    assert client.get("/", headers={"X-Forwarded-User": "zhao"}).status_code == 303
    assert client.get("/sign-in", headers={"X-Forwarded-User": "zhao"}).status_code == 200


def test_addresses_and_schemes_are_a_trusted_proxys_to_say(own_folder: Path, state: State) -> None:
    settings = "  behind: [10.1.0.0/16]\n  limits: {sign_ins_per_minute: 1}"
    client = portal_with(own_folder, state, settings, "http://portal.example.org")
    tries = [
        client.post("/sign-in", headers={"X-Forwarded-For": f"{made_up}, 1.2.3.{last}, 10.1.9.9"}).status_code
        for made_up, last in (("9.9.9.9", 1), ("8.8.8.8", 1), ("8.8.8.8", 2))
    ]
    assert tries == [403, 403, 403], "no form, but the tries of forms follow"
    token = csrf_of(client, "/sign-in")
    codes = []
    for made_up, last in (("9.9.9.9", 1), ("8.8.8.8", 1), ("8.8.8.8", 2)):
        headers = {"X-Forwarded-For": f"{made_up}, 1.2.3.{last}, 10.1.9.9", "X-CSRF-Token": token}
        cookies = {"Cookie": f"huaxiang_form={token}"}
        codes.append(client.post("/sign-in", data={"login": "x"}, headers={**headers, **cookies}).status_code)
    assert codes == [401, 429, 401], "what a client writes itself makes no new address"
    assert "strict-transport-security" in client.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers
    direct = TestClient(client.app, "http://portal.example.org", client=("1.2.3.4", 1))
    assert "strict-transport-security" not in direct.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers


@pytest.mark.parametrize("strips", [True, False])
def test_below_a_proxys_path_every_address_stays_below_it(own_folder: Path, state: State, strips: bool) -> None:
    client = portal_with(own_folder, state, "  base_path: /crm/portal")
    before = "" if strips else "/crm/portal"
    sent = client.get(f"{before}/tags?q=a")
    assert sent.headers["location"] == "/crm/portal/sign-in?next=%2Ftags%3Fq%3Da"
    page = client.get(f"{before}/sign-in").text
    assert 'action="/crm/portal/sign-in"' in page and "/crm/portal/static/portal.css" in page
    client.cookies.set("huaxiang_form", token := csrf_of(client, f"{before}/sign-in"))
    form = {"login": "viewer", "password": PASSWORD, "csrf": token, "next": "/tags"}
    entered = client.post(f"{before}/sign-in", data=form, headers={"Cookie": f"huaxiang_form={token}"})
    assert entered.headers["location"] == "/crm/portal/tags"
    assert "Path=/crm/portal;" in entered.headers["set-cookie"]


def test_a_portal_without_a_release_lives_and_is_not_ready(tmp_path: Path, state: State) -> None:
    (tmp_path / "huaxiang.yaml").write_text("name: {zh: 新店, en: New}\n")
    client = TestClient(create_app(Project.load(tmp_path), state=state), ADDRESS)
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "not ready", "state": True, "release": False})


@pytest.fixture
def server(own_folder: Path, state: State) -> Iterator[int]:
    """The portal behind its real server, which waits for half a second at most."""
    path = own_folder / "huaxiang.yaml"
    path.write_text(path.read_text() + "portal: {limits: {header_seconds: 0.5, body_seconds: 0.5}}\n")
    project = Project.load(own_folder)
    app = create_app(project, state=state)
    running = uvicorn.Server(uvicorn.Config(app, port=0, **served(project.settings.portal)))
    thread = Thread(target=running.run)
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield running.servers[0].sockets[0].getsockname()[1]
    running.should_exit = True
    thread.join()


BODY = b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 50\r\n\r\nlogin"


@pytest.mark.parametrize(
    ("said", "told"),
    [(b"", b""), (b"GET / HTTP/1.1\r\nHost: loc", b""), (BODY, b"HTTP/1.1 408")],
    ids=["nothing", "half a head", "half a body"],
)
def test_who_does_not_finish_a_request_is_hung_up_on(server: int, said: bytes, told: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server), timeout=20) as client:
        client.sendall(said)
        began, heard = time.monotonic(), b""
        while part := client.recv(65536):
            heard += part
        assert time.monotonic() - began < 15
        assert heard.startswith(told) and (told or heard == b"")


def test_who_sends_a_letter_at_a_time_gains_no_time(server: int) -> None:
    with socket.create_connection(("127.0.0.1", server), timeout=20) as client:
        began = time.monotonic()
        with pytest.raises(OSError):
            for letter in b"GET / HTTP/1.1\r\nX-Slow: " + b"a" * 500:
                client.sendall(bytes([letter]))
                time.sleep(0.05)
        assert time.monotonic() - began < 15


def test_a_kept_connection_is_answered_again(server: int) -> None:
    with socket.create_connection(("127.0.0.1", server), timeout=20) as client:
        for _ in range(3):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b'"ok"' in client.recv(65536)
            time.sleep(0.7)
