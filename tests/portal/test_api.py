"""What the API does beside answering: it pages, knows versions, never saves over others, asks once and notes who looks."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from jobs.audiences.export import export
from portal.state.opened import State
from portal.state.tables import AccessRow
from project.folder import Project
from queries.deliveries import deliveries_made
from tests.audiences.lake_shop import BEIJING
from tests.portal.conftest import Enter

WIDER = BEIJING.replace("at_least: 3", "at_least: 2")


def test_a_list_comes_in_pages_that_lose_and_repeat_nothing(program: Enter) -> None:
    client = program("viewer")
    whole = [t["id"] for t in client.get("/tags").json()["items"]]
    found, cursor = [], None
    for _ in whole:
        page = client.get("/tags", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        found += [t["id"] for t in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert found == whole and len(found) > 2
    for wrong in ("x", "MTIz", "%00", "A" * 301):
        assert client.get("/tags", params={"cursor": wrong}).status_code == 422


def test_what_was_read_is_not_sent_again_while_it_is_the_same(program: Enter) -> None:
    client = program("viewer")
    for way in ("/release", "/tags", "/audiences/beijing", "/audiences/beijing/counts"):
        first = client.get(way)
        again = client.get(way, headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
        assert (again.status_code, again.content) == (304, b""), way
        assert client.get(way, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_save_is_a_version_and_never_goes_over_anothers(program: Enter, own_folder: Path) -> None:
    mine, theirs = program("marketer"), program("analyst")
    began = mine.get("/audiences/beijing").headers["ETag"]
    saved = theirs.put(
        "/audiences/beijing", json={"text": WIDER, "reason": "wider"}, headers={"If-Match": theirs_tag(theirs)}
    )
    assert saved.status_code == 200 and saved.headers["ETag"] != began
    for headers, status in (({"If-Match": began}, 412), ({}, 428), ({"If-None-Match": "*"}, 412)):
        answer = mine.put("/audiences/beijing", json={"text": BEIJING}, headers=headers)
        assert answer.status_code == status and answer.headers["content-type"] == "application/problem+json"
    assert (own_folder / "audiences" / "beijing.yaml").read_text(encoding="utf-8") == WIDER
    made = mine.put("/audiences/wider", json={"text": WIDER}, headers={"If-None-Match": "*"})
    assert made.status_code == 201
    assert {"beijing", "wider"} <= {a["id"] for a in mine.get("/audiences").json()["items"]}


def theirs_tag(client: object) -> str:
    return str(client.get("/audiences/beijing").headers["ETag"])  # type: ignore[attr-defined]


def test_a_preview_counts_what_the_saved_audience_holds_and_names_the_field_of_a_mistake(program: Enter) -> None:
    client = program("viewer")
    counted = client.post("/audiences/preview", json={"text": BEIJING, "name": "beijing"}).json()
    saved = client.get("/audiences/beijing/counts").json()
    assert counted["users"] == saved["users"] == 3 and counted["steps"] == saved["steps"]
    wrong = BEIJING.replace("register_city, is", "registr_city, is")
    answer = client.post("/audiences/preview", json={"text": wrong})
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "include.all.0.tag" and error["line"] == 6 and "register_city" in error["message"]
    assert client.post("/audiences/validate", json={"text": wrong}).json()["valid"] is False
    assert client.post("/audiences/validate", json={"text": BEIJING}).json() == {"valid": True, "mistakes": []}


def test_a_request_is_asked_once_however_often_it_is_sent(program: Enter) -> None:
    client = program("marketer")
    first, again = (
        client.post("/audiences/beijing/deliver", json={}, headers={"Idempotency-Key": "april"}) for _ in "ab"
    )
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert client.get(first.headers["Location"].removeprefix("/api/v1")).json()["state"] == "queued"
    other = client.post("/audiences/beijing/deliver", json={"full": True}, headers={"Idempotency-Key": "april"})
    assert other.status_code == 422
    assert client.post("/audiences/beijing/deliver", json={}).status_code == 422, "a key is asked for"
    taken_back = client.post(f"/jobs/{first.json()['id']}/cancel")
    assert taken_back.json()["state"] == "refused"
    assert client.post(f"/jobs/{first.json()['id']}/cancel").status_code == 409


@pytest.fixture
def delivered(own_folder: Path) -> tuple[str, bytes]:
    """The way to the file of a delivery, and its content."""
    project = Project.load(own_folder)
    found = export(project, "beijing", requested_by="test")
    one = deliveries_made(project)[0]
    path = Path(one.path)
    assert found.rows == 3
    return f"/deliveries/{one.delivery_id}/files/{path.name}", path.read_bytes()


def test_a_download_streams_resumes_and_is_noted_with_its_purpose(
    program: Enter, state: State, delivered: tuple[str, bytes]
) -> None:
    way, content = delivered
    client = program("marketer")
    whole = client.get(way, params={"purpose": "call of April"})
    assert whole.content == content and "attachment" in whole.headers["Content-Disposition"]
    part = client.get(way, params={"purpose": "the rest"}, headers={"Range": f"bytes={len(content) // 2}-"})
    assert (part.status_code, part.content) == (206, content[len(content) // 2 :])
    again = client.get(way, params={"purpose": "again"}, headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status_code == 304
    for missing in ({}, {"purpose": ""}, {"purpose": "  "}):
        assert client.get(way, params=missing).status_code == 422
    with state.reading() as session:
        noted = [(r.login, r.what, r.purpose) for r in session.scalars(select(AccessRow).order_by(AccessRow.id))]
    assert noted[:2] == [("marketer", "download", "call of April"), ("marketer", "download", "the rest")]
    told = client.get(way.split("/files/")[0]).json()
    assert told["files"][0]["is_there"] and told["funnel"][-1]["people"] == 3


def test_a_person_is_found_and_shown_masked_and_in_clear_for_a_purpose_only(program: Enter, state: State) -> None:
    analyst, marketer = program("analyst"), program("marketer")
    assert marketer.post("/users/search", json={"kind": "member", "value": "M1"}).status_code == 422
    asked = {"kind": "member", "value": "M1", "purpose": "a complaint"}
    uid = marketer.post("/users/search", json=asked).json()["uid"]
    card = marketer.get(f"/users/{uid}")
    assert card.json()["uid"] == uid and "13800" not in card.text
    assert "13800130001" not in marketer.get(f"/users/{uid}/history").text
    assert marketer.post(f"/users/{uid}/unmask", json={"purpose": "x"}).status_code == 403
    assert analyst.post(f"/users/{uid}/unmask", json={"purpose": " "}).status_code == 422
    assert "13800130001" in analyst.post(f"/users/{uid}/unmask", json={"purpose": "a complaint"}).text
    with state.reading() as session:
        noted = [(r.login, r.what, r.subject) for r in session.scalars(select(AccessRow).order_by(AccessRow.id))]
    assert noted == [
        ("marketer", "search", "by member"),
        ("marketer", "side card", f"uid {uid}"),
        ("marketer", "card", f"uid {uid}"),
        ("analyst", "card in clear", f"uid {uid}"),
    ]
