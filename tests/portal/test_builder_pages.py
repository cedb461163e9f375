"""The builder: a draft by forms and by text, counted and saved; what is somebody else's, or a trap, is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from audiences.language import read
from portal.blocks import seen
from portal.drafts import MOST_STEPS, Drafts
from portal.state.opened import State
from project.folder import Project
from queries.preview import preview
from tests.portal.conftest import Enter, csrf_of

HTMX = {"HX-Request": "true"}
NOBODY_ELSE = "<script>alert(1)</script>"


def begun(browser: TestClient, query: str = "?tag=register_city&value=北京") -> str:
    """The address of a new draft."""
    answer = browser.get(f"/audiences/new{query}")
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def post(browser: TestClient, address: str, **form: str | list[str]):  # type: ignore[no-untyped-def]
    return browser.post(address, data={"csrf": csrf_of(browser, "/audiences"), **form}, headers=HTMX)


def seen_at(browser: TestClient, address: str, place: str) -> str:
    found = re.search(
        rf'name="at" value="{re.escape(place)}"><input type="hidden" name="seen" value="(\w+)"',
        browser.get(address).text,
    )
    assert found, place
    return found[1]


def act(browser: TestClient, address: str, place: str, do: str = "change", **form: str | list[str]) -> str:
    answer = post(browser, address, at=place, seen=seen_at(browser, address, place), do=do, **form)
    assert answer.status_code == 200
    return answer.text


def text_of(browser: TestClient, address: str) -> str:
    import html

    found = re.search(r'<textarea id="text"[^>]*>(.*?)</textarea>', browser.get(address + "?view=text").text, re.DOTALL)
    assert found
    return html.unescape(found[1])


def people(page: str) -> int:
    found = re.search(r'id="people">([\d,]+)<', page)
    assert found, page[:2000]
    return int(found[1].replace(",", ""))


@pytest.fixture
def marketer(enter: Enter) -> TestClient:
    return enter("marketer")


def test_the_beijing_audience_is_built_by_forms_and_is_what_the_command_finds(
    marketer: TestClient, own_folder: Path
) -> None:
    address = begun(marketer)
    for i, fields in enumerate(
        (
            {
                "event": "browse",
                "did": "true",
                "measure": "visits",
                "days": "within",
                "days.from": "90",
                "op.0": "at_least",
                "value.0": "3",
            },
            {"event": "pay", "did": "true", "measure": "orders", "days": "ever", "op.0": "at_least", "value.0": "1"},
            {
                "event": "pay",
                "did": "false",
                "measure": "rows",
                "days": "within",
                "days.from": "7",
                "where.brand": "资生堂",
            },
        ),
        1,
    ):
        post(marketer, address, do="add", at="include", kind="event")
        page = act(marketer, address, f"include.all.{i}", **fields)
    counted = people(page)
    saved = post(marketer, address + "/save", name="by_hand", reason="试")
    assert saved.headers["location"] == "/audiences/by_hand?saved=1"
    assert counted == preview(Project.load(own_folder), "beijing", sample=0).users > 0
    assert counted == preview(Project.load(own_folder), "by_hand", sample=0).users
    assert marketer.get(address).status_code == 404, "a saved draft is no draft any more"


def test_a_change_counts_each_block_and_says_what_it_alone_drops(marketer: TestClient) -> None:
    address = begun(marketer)
    page = post(marketer, address, do="add", at="exclude", kind="tag", which="is_member").text
    assert people(page) == 0
    assert "它单独排除" in page and "排除" in page


def test_undo_redo_and_reload_lose_nothing(marketer: TestClient) -> None:
    address = begun(marketer)
    first = text_of(marketer, address)
    post(marketer, address, do="add", at="include", kind="event")
    second = text_of(marketer, address)
    assert first != second
    post(marketer, address, do="undo")
    assert text_of(marketer, address) == first
    post(marketer, address, do="redo")
    assert text_of(marketer, address) == second


def test_switching_off_and_on_again_by_button(marketer: TestClient) -> None:
    address = begun(marketer, "?tag=is_member&value=true")
    post(marketer, address, do="add", at="include", kind="tag", which="register_city")
    act(marketer, address, "include.all.1", **{"tag": "register_city", "op.0": "is", "value.0": "北京"})
    both = people(marketer.get(address).text)
    page = act(marketer, address, "include.all.1", "off")
    assert people(page) > both and "已停用" in page and "switched off" in page
    assert people(act(marketer, address, "include.all.1", "on")) == both


def test_without_script_a_form_leads_back_to_the_page(marketer: TestClient) -> None:
    address = begun(marketer)
    form = {"csrf": csrf_of(marketer, "/audiences"), "do": "add", "at": "include", "kind": "event"}
    answer = marketer.post(address, data=form)
    assert answer.status_code == 303 and answer.headers["location"].startswith(address)


def test_text_and_form_are_one_draft_and_comments_stay(marketer: TestClient) -> None:
    address = begun(marketer)
    text = "# ours\n" + text_of(marketer, address) + "may_be_empty: true   # on most days\n"
    post(marketer, address + "/text", text=text)
    act(marketer, address, "include.all.0", "clone")
    after = text_of(marketer, address)
    assert after.startswith("# ours\n") and after.endswith("may_be_empty: true   # on most days\n")
    assert after.count("register_city") == 2


def test_what_cannot_be_meant_stands_at_its_block_with_the_nearest_word(marketer: TestClient) -> None:
    address = begun(marketer)
    post(marketer, address + "/text", text=text_of(marketer, address).replace("register_city", "registr_city"))
    page = marketer.get(address).text
    assert "did you mean &#39;register_city&#39;?" in page and 'id="people"' not in page
    refused = post(marketer, address, do="add", at="include", kind="tag", which="registr_city").text
    assert "did you mean" in refused


def test_nobody_saves_over_what_was_saved_meanwhile(marketer: TestClient, enter: Enter, own_folder: Path) -> None:
    post(marketer, begun(marketer) + "/save", name="shared", reason="")
    mine = post(marketer, "/audiences/shared/edit").headers["location"]
    other = enter("analyst")
    theirs = post(other, "/audiences/shared/edit").headers["location"]
    act(other, theirs, "include.all.0", "clone")
    assert post(other, theirs + "/save", name="shared", reason="one more").status_code == 303
    act(marketer, mine, "include.all.0", "not")
    answer = post(marketer, mine + "/save", name="shared", reason="mine")
    assert answer.status_code == 409 and "没有覆盖" in answer.text
    there = (own_folder / "audiences" / "shared.yaml").read_text(encoding="utf-8")
    assert there.count("register_city") == 2
    looked_at = re.search(r'name="over" value="(\w+)"', answer.text)
    assert looked_at
    assert post(marketer, mine + "/save", name="shared", reason="mine", over=looked_at[1]).status_code == 303
    page = marketer.get("/audiences/shared?older=2&newer=3").text
    assert 'id="compared"' in page and "one more" in page


def test_drafts_are_their_persons_own(marketer: TestClient, enter: Enter) -> None:
    address = begun(marketer)
    other = enter("analyst")
    assert other.get(address).status_code == 404
    for way in ("", "/text", "/save", "/drop"):
        assert post(other, address + way, do="undo", text="x: 1", name="stolen").status_code == 404
    assert marketer.get(address).status_code == 200


def test_a_viewer_may_look_and_not_build(enter: Enter, marketer: TestClient) -> None:
    viewer, address = enter("viewer"), begun(marketer)
    assert viewer.get("/audiences").status_code == 200
    page = viewer.get("/audiences/beijing?show=sample").text
    assert 'id="people"' in page and 'id="deliver"' not in page and "138" not in page
    for way in ("/audiences/new", address):
        assert viewer.get(way).status_code == 403
    for way in ("/audiences/beijing/build", "/audiences/beijing/deliver"):
        assert post(viewer, way, purpose="p").status_code == 403


@pytest.mark.parametrize("name", ["../huaxiang", "a/b", "Upper", "", "new", "x" * 64, "a.yaml", "..%2fx", ".hidden"])
def test_a_name_that_is_a_path_is_refused(marketer: TestClient, own_folder: Path, name: str) -> None:
    before = sorted(p.name for p in own_folder.rglob("*.yaml"))
    assert post(marketer, begun(marketer) + "/save", name=name).status_code == 422
    assert sorted(p.name for p in own_folder.rglob("*.yaml")) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "aliases"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("include: " + "{not: " * 150 + "x" + "}" * 150, "nested more than"),
        ("x: " + "y" * 200_001, "characters are more than"),
    ],
)
def test_text_that_is_a_trap_is_shown_and_not_taken(marketer: TestClient, text: str, said: str) -> None:
    address = begun(marketer)
    before = text_of(marketer, address)
    answer = post(marketer, address + "/text", text=text)
    assert answer.status_code == 422 and said in answer.text
    assert text_of(marketer, address) == before


def test_a_draft_nested_too_deep_is_refused_in_words(marketer: TestClient) -> None:
    address, place = begun(marketer), "include.all.0"
    page = ""
    for _ in range(14):
        page = act(marketer, address, place, "any")
        if "nested more than" in page:
            break
        place += ".any.0"
    assert "nested more than" in page


def test_script_in_a_name_is_text(marketer: TestClient) -> None:
    address = begun(marketer)
    post(
        marketer,
        address,
        do="about",
        **{"name.zh": NOBODY_ELSE, "name.en": NOBODY_ELSE, "owner": NOBODY_ELSE, "folder": NOBODY_ELSE},
    )
    act(marketer, address, "include.all.0", **{"tag": "register_city", "op.0": "is", "value.0": NOBODY_ELSE})
    assert NOBODY_ELSE not in marketer.get(address).text
    post(marketer, address + "/save", name="marked", reason=NOBODY_ELSE)
    for page in ("/audiences", "/audiences/marked", "/audiences/new?like=marked"):
        assert NOBODY_ELSE not in marketer.get(page).text


def test_a_change_of_what_was_changed_elsewhere_is_refused(marketer: TestClient) -> None:
    address = begun(marketer)
    old = seen_at(marketer, address, "include.all.0")
    act(marketer, address, "include.all.0", "not")
    page = post(marketer, address, at="include.all.0", seen=old, do="delete").text
    assert "别处已被改过" in page


def test_build_and_delivery_are_asked_for_once_however_often_the_form_is_sent(marketer: TestClient) -> None:
    way = "/audiences/beijing"
    first, again = (post(marketer, way + "/build", key="k").headers["location"] for _ in range(2))
    assert first == again and first.startswith("/jobs/")
    assert post(marketer, way + "/deliver", key="k").status_code == 422, "a delivery has a purpose"
    assert post(marketer, way + "/deliver", key="k", purpose="复购提醒", platform="nowhere").status_code == 404
    assert post(marketer, way + "/deliver", key="k2", purpose="复购提醒").status_code == 303


def test_oldest_steps_of_a_draft_go(state: State) -> None:
    drafts = Drafts(state, 1)
    draft = drafts.begin("0", None, None)
    for i in range(1, 2 * MOST_STEPS):
        drafts.change(draft, str(i))
    for _ in range(2 * MOST_STEPS):
        drafts.go(draft, -1)
    assert drafts.get(draft).text == str(MOST_STEPS)


def test_every_shown_insight_answers(marketer: TestClient) -> None:
    for show in ("reach", "overlap", "profile", "sample", "trend", "nothing"):
        answer = marketer.get(f"/audiences/beijing?show={show}&lang=en")
        assert answer.status_code == 200, show


def test_the_file_that_is_saved_is_what_the_language_reads(marketer: TestClient, own_folder: Path) -> None:
    post(marketer, begun(marketer) + "/save", name="plain", reason="")
    assert read(own_folder / "audiences" / "plain.yaml").definition.owner == "marketer"
    assert seen({"a": 1}) != seen({"a": 2})


def test_a_build_is_a_job_of_its_person_that_can_be_looked_at_and_taken_back(
    marketer: TestClient, enter: Enter
) -> None:
    way = post(marketer, "/audiences/beijing/build", key="k").headers["location"]
    assert 'data-state="queued"' in marketer.get(way).text
    assert marketer.get(way, headers=HTMX).text.startswith("<section")
    assert enter("analyst").get(way).status_code == 404
    assert post(marketer, way + "/cancel").status_code == 303
    assert 'data-state="refused"' in marketer.get(way).text
