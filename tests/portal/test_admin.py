"""What an admin does about people, tokens and jobs, and what everybody does about their own account."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from portal.access import accesses, note_access
from portal.queue import Queue
from portal.sign_in.people import person_of, row_of_login
from portal.sign_in.roles import Person
from portal.sign_in.tokens import person_of_token
from portal.state.opened import State
from queries.timing import costs
from tests.portal.conftest import PASSWORD, Enter, csrf_of, sign_in_as


def person(state: State, login: str) -> Person:
    with state.reading() as session:
        row = row_of_login(session, login)
        assert row is not None
        return person_of(row)


def secret_on(page: str) -> str:
    found = re.search(r'class="secret">([^<]+)<', page)
    assert found
    return found[1]


def sent(client: TestClient, way: str, page: str = "/account", **form: str | list[str]):  # type: ignore[no-untyped-def]
    return client.post(way, data={"csrf": csrf_of(client, page), **form})


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("page", ["/admin", "/admin/tokens", "/admin/access", "/admin/jobs", "/admin/runs", "/account"])
def test_every_page_of_the_admin_answers_with_nothing_inline(enter: Enter, page: str, lang: str) -> None:
    answer = enter("admin").get(page, params={"lang": lang})
    assert answer.status_code == 200
    assert not re.search(r"<script(?![^>]*src=)|style=|\son\w+=", answer.text)


def test_a_person_who_is_added_signs_in_by_the_password_that_is_shown_once(enter: Enter, state: State) -> None:
    admin = enter("admin")
    made = sent(admin, "/admin/people", login="Li", role="marketer", name="<script>alert(1)</script>")
    password = secret_on(made.text)
    assert "<script>alert" not in made.text and "&lt;script&gt;alert" in made.text
    assert password not in admin.get("/admin").text
    li = enter()
    assert sign_in_as(li, "li", password).status_code == 303
    assert li.get("/admin").status_code == 403
    assert [(a.what, a.purpose) for _, a in accesses(state)] == [("person added", "marketer")]


def test_a_role_holds_from_the_next_request_on_and_who_is_stopped_is_out(enter: Enter, state: State) -> None:
    admin, viewer = enter("admin"), enter("viewer")
    number = person(state, "viewer").id
    assert viewer.get("/admin").status_code == 403
    assert sent(admin, f"/admin/people/{number}/role", role="admin").status_code == 303
    assert viewer.get("/admin").status_code == 200
    assert sent(admin, f"/admin/people/{number}/active", active="false").status_code == 303
    assert viewer.get("/admin").status_code == 303
    last = sent(admin, f"/admin/people/{person(state, 'admin').id}/role", role="viewer")
    assert last.status_code == 400 and "without an admin" in last.text
    assert sent(admin, "/admin/people/999/role", role="viewer").status_code == 404


def test_a_password_is_changed_by_who_knows_it_and_other_devices_are_out(enter: Enter) -> None:
    here, there = enter("viewer"), enter("viewer")
    assert sent(here, "/account/password", old="wrong horse battery", new="new horse battery").status_code == 403
    assert sent(here, "/account/password", old=PASSWORD, new="short").status_code == 422
    assert sent(here, "/account/password", old=PASSWORD, new="new horse battery").status_code == 200
    assert here.get("/account").status_code == 200 and there.get("/account").status_code == 303
    assert sign_in_as(enter(), "viewer").status_code == 401
    assert sign_in_as(enter(), "viewer", "new horse battery").status_code == 303


def test_a_token_is_made_within_ones_own_permissions_and_taken_back_by_its_person_or_an_admin(
    enter: Enter, state: State
) -> None:
    viewer, other, admin = enter("viewer"), enter("marketer"), enter("admin")
    assert sent(viewer, "/account/tokens", name="x", scopes=["users.read"]).status_code == 422
    token = secret_on(sent(viewer, "/account/tokens", name="crm", scopes=["tags.read"], days="30").text)
    found = person_of_token(state, token)
    assert found is not None and found.permissions == {"tags.read"}
    assert token not in viewer.get("/account").text + admin.get("/admin/tokens").text
    assert sent(other, "/account/tokens/1/revoke").status_code == 404
    assert sent(admin, "/admin/tokens/1/revoke").status_code == 303
    assert person_of_token(state, token) is None


def test_a_delivery_is_approved_on_the_page_by_another_than_who_asked(enter: Enter, state: State) -> None:
    queue, asked = Queue(state), {"audience": "beijing"}
    theirs = queue.put("audience.deliver", asked, person(state, "marketer"), "1", approve=True)
    own = queue.put("audience.deliver", asked, person(state, "admin"), "2", approve=True)
    admin = enter("admin")
    assert admin.get("/admin/jobs").text.count("/approve") == 1
    assert sent(admin, f"/admin/jobs/{own.id}/approve").status_code == 400
    assert sent(admin, f"/admin/jobs/{theirs.id}/approve").status_code == 303
    assert (queue.get(own.id).state, queue.get(theirs.id).state) == ("waiting", "queued")


def test_the_log_is_shown_a_page_at_a_time_and_of_one_person(enter: Enter, state: State) -> None:
    for n in range(120):
        note_access(state, "li" if n % 2 else "wang", "card", f"uid {n}", "<b>问询</b>")
    admin = enter("admin")
    first = admin.get("/admin/access").text
    assert "uid 119<" in first and "uid 19<" not in first and "<b>问询" not in first
    older = re.search(r"before=(\d+)", first)
    assert older and "uid 19<" in admin.get(f"/admin/access?before={older[1]}").text
    assert "uid 118<" not in admin.get("/admin/access?login=li").text


def test_what_a_run_cost_is_the_sum_of_its_steps_and_the_most_memory_of_any() -> None:
    def step(run: str, name: str, seconds: float, memory: int | None, rows: int | None) -> dict[str, object]:
        known = {"as_of": None, "engine": "embedded", "created_at": run}
        return {"run_id": run, "step": name, "seconds": seconds, "peak_memory_mb": memory, "rows_out": rows, "spilled_mb": None, **known}  # fmt: skip

    older, newer = costs([step("1", "a", 2.5, 100, 7), step("1", "b", 4.0, 300, None), step("2", "a", 1.0, None, 5)])[
        ::-1
    ]
    assert (older["steps"], older["seconds"], older["peak_memory_mb"], older["rows_out"]) == (2, 6.5, 300, 7)
    assert older["longest"] == ("b", 4.0)
    assert (newer["run_id"], newer["peak_memory_mb"], newer["spilled_mb"]) == ("2", None, None)
