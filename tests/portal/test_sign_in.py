"""Who gets in by a password, what a session is, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from argon2 import Type, extract_parameters
from sqlalchemy import select

from portal.sign_in.people import add_person, set_active, set_password, set_role
from portal.sign_in.tokens import add_token, person_of_token, revoke_token
from portal.state.opened import State
from portal.state.tables import PersonRow, SessionRow, TokenRow
from schemas.errors import HuaxiangError, NotThereError, UsageError
from tests.portal.conftest import PASSWORD, Clock, Enter, csrf_of, sign_in_as

HOME = "截止业务日"


def test_who_signs_in_sees_the_shop_and_who_has_not_is_sent_to_the_door(enter: Enter) -> None:
    assert HOME in enter("viewer").get("/").text
    stranger = enter()
    sent = stranger.get("/?lang=en")
    assert sent.status_code == 303
    assert sent.headers["location"] == "/sign-in?next=%2F%3Flang%3Den"


def test_a_wrong_password_an_unknown_login_and_a_stopped_person_are_refused_alike(enter: Enter, state: State) -> None:
    set_active(state, "analyst", active=False)
    said = set()
    for login, password in (("viewer", "wrong horse battery"), ("nobody", PASSWORD), ("analyst", PASSWORD)):
        answer = sign_in_as(enter(), login, password)
        assert answer.status_code == 401
        assert "huaxiang_session" not in answer.cookies
        said.add(answer.text.split("<main")[1].split("<form")[0])
    assert len(said) == 1, "the answer would tell which logins there are"


def test_nothing_that_lets_in_is_kept_in_clear(enter: Enter, state: State) -> None:
    cookie = enter("viewer").cookies["huaxiang_session"]
    with state.reading() as session:
        kept = [r.id for r in session.scalars(select(SessionRow))]
        hashes = [r.password_hash for r in session.scalars(select(PersonRow))]
    assert cookie not in kept and len(kept) == 1
    assert all(h is not None and h.startswith("$argon2id$") and PASSWORD not in h for h in hashes)


def test_a_session_ends_by_signing_out_by_its_hours_and_by_idleness(enter: Enter, clock: Clock) -> None:
    left = enter("viewer")
    cookie = left.cookies["huaxiang_session"]
    assert left.post("/sign-out", data={"csrf": csrf_of(left)}).status_code == 303
    left.cookies.set("huaxiang_session", cookie)
    assert left.get("/").status_code == 303, "the cookie alone is worth nothing any more"
    idle, busy = enter("viewer"), enter("viewer")
    for _ in range(7):
        clock.pass_by(minutes=100)
        assert busy.get("/").status_code == 200
    assert idle.get("/").status_code == 303
    clock.pass_by(minutes=30)
    assert busy.get("/").status_code == 303, "twelve hours are over"


def test_who_is_stopped_or_gets_a_new_password_is_out_at_once(enter: Enter, state: State) -> None:
    stopped, renewed = enter("viewer"), enter("marketer")
    set_active(state, "viewer", active=False)
    set_password(state, "marketer", "another horse battery")
    assert [c.get("/").status_code for c in (stopped, renewed)] == [303, 303]


def test_the_last_admin_cannot_be_taken_away(state: State) -> None:
    for change in (lambda: set_active(state, "admin", active=False), lambda: set_role(state, "admin", "viewer")):
        with pytest.raises(HuaxiangError, match="without an admin"):
            change()
    with state.reading() as session:
        row = session.scalar(select(PersonRow).where(PersonRow.login == "admin"))
        assert row is not None and (row.role, row.is_active) == ("admin", True)


def test_a_person_is_added_once_with_a_known_role_and_a_long_password(state: State) -> None:
    with pytest.raises(HuaxiangError, match="already"):
        add_person(state, " Viewer ", "viewer", PASSWORD)
    with pytest.raises(UsageError, match="did you mean 'viewer'"):
        add_person(state, "li", "viewr", PASSWORD)
    with pytest.raises(UsageError, match="12 to 256 characters; this one has 5"):
        add_person(state, "li", "viewer", "short")


@pytest.mark.parametrize("way", ["https://example.org/", "//example.org", "/\\example.org", "javascript:alert(1)"])
def test_signing_in_leads_nowhere_else(enter: Enter, way: str) -> None:
    client = enter()
    form = {"login": "viewer", "password": PASSWORD, "csrf": csrf_of(client, "/sign-in"), "next": way}
    assert client.post("/sign-in", data=form).headers["location"] == "/"


def test_a_token_may_what_its_scopes_and_its_persons_role_both_allow(state: State, clock: Clock) -> None:
    analyst = add_person(state, "li", "analyst", PASSWORD)
    secret = add_token(state, analyst, "crm", ["tags.read", "users.unmask"], days=30)
    found = person_of_token(state, secret)
    assert found is not None and found.permissions == {"tags.read", "users.unmask"}
    set_role(state, "li", "marketer")
    found = person_of_token(state, secret)
    assert found is not None and found.permissions == {"tags.read"}
    clock.pass_by(days=31)
    assert person_of_token(state, secret) is None
    with pytest.raises(UsageError, match="'admin' is not yours"):
        add_token(state, analyst, "more", ["admin"], days=1)


def test_a_token_that_was_taken_back_or_made_up_is_nobodys(state: State) -> None:
    li, wang = (add_person(state, login, "viewer", PASSWORD) for login in ("li", "wang"))
    secret = add_token(state, li, "crm", ["tags.read"], days=30)
    with state.reading() as session:
        number = session.scalars(select(TokenRow.id)).one()
    with pytest.raises(NotThereError):
        revoke_token(state, number, of=wang.id)
    assert person_of_token(state, secret) is not None
    revoke_token(state, number, of=li.id)
    assert person_of_token(state, secret) is None
    assert person_of_token(state, secret[:-1] + ("a" if secret[-1] != "a" else "b")) is None


def test_a_password_costs_whoever_guesses_64_mb_and_three_rounds() -> None:
    code = "from portal.sign_in.secrets import hashed_password; print(hashed_password('correct horse battery'))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found = extract_parameters(made.strip())
    assert (found.type, found.memory_cost >= 65_536, found.time_cost >= 3) == (Type.ID, True, True)
