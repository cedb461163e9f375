"""What attackers try at the API and the builder, each refused. The table of all of them: docs/portal-attacks.md."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from audiences.builder.written import MOST_CHARACTERS
from audiences.delivery import starts_formula
from jobs.audiences.export import export
from portal.sign_in.people import set_role
from portal.state.opened import State
from project.folder import Project
from queries.deliveries import deliveries_made
from tests.audiences.lake_shop import BEIJING, D, Shop, people
from tests.portal.conftest import Clock, Enter

SCRIPT = "<script>alert(1)</script>"
ESCAPES = (
    "../huaxiang",
    "..%2f..%2fhuaxiang",
    "%2e%2e%2fhuaxiang",
    "/etc/passwd",
    "..\\huaxiang",
    "a%00",
    "-x",
    "A",
)
INJECTED = ("' or 1=1 --", "x'; drop table people; --", '" union select * from silver.members --', "1) or (1=1")
EVERYBODY = """\
name: {zh: 所有人, en: Everybody}
description: {zh: 说明, en: Everybody}
owner: crm
include: {tag: gender, is: female}
export: {columns: [user_id, register_city], format: FORMAT}
"""
DOCUMENT = Path(__file__).parents[2] / "docs" / "portal-attacks.md"


def files_of(folder: Path) -> dict[str, bytes]:
    """Everything in a project but the portal's own state and what is kept for the next question."""
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0] in ("audiences", "tags", "huaxiang.yaml")
    }


def test_a_forged_altered_expired_or_withdrawn_token_opens_nothing(program: Enter, clock: Clock) -> None:
    client = program("admin")
    good = client.headers["Authorization"]
    assert client.get("/release").status_code == 200
    forged = (
        "Bearer ",
        "Bearer hxp_",
        "Bearer hxp_" + "A" * 43,
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        "Basic x",
    )
    for header in (*forged, good.replace("hxp_", ""), f"{good}, {good}", "Bearer ' or 1=1 --"):
        answer = client.get("/release", headers={"Authorization": header, "X-Role": "admin"})
        assert answer.status_code == 401, header
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    clock.pass_by(days=2)
    assert client.get("/release").status_code == 401


def test_a_token_does_what_its_scopes_say_and_no_more_than_the_role_still_may(program: Enter, state: State) -> None:
    narrow = program("admin", "tags.read")
    assert narrow.get("/tags").status_code == 200
    for way in ("/release", "/audiences", "/users/1", "/deliveries", "/jobs"):
        assert narrow.get(way).status_code == 403, way
    refused = narrow.put("/audiences/mine", json={"text": BEIJING}, headers={"If-None-Match": "*"})
    assert refused.status_code == 403
    wide = program("analyst")
    assert wide.get("/users/1").status_code == 200
    set_role(state, "analyst", "viewer")
    assert wide.get("/users/1").status_code == 403


def test_jobs_drafts_and_downloads_of_others_are_not_there(program: Enter, enter: Enter, own_folder: Path) -> None:
    mine, theirs = program("marketer"), program("analyst")
    job = mine.post("/audiences/beijing/build", json={}, headers={"Idempotency-Key": "a"}).json()
    assert theirs.get(f"/jobs/{job['id']}").status_code == 404
    assert theirs.post(f"/jobs/{job['id']}/cancel").status_code == 404
    assert theirs.get("/jobs").json()["items"] == []
    same_key = theirs.post("/audiences/beijing/build", json={}, headers={"Idempotency-Key": "a"}).json()
    assert same_key["id"] != job["id"], "a key is its person's own"
    writer, reader = enter("marketer"), enter("analyst")
    draft = writer.get("/audiences/new").headers["location"]
    assert writer.get(draft).status_code == 200
    csrf = token_in(reader.get("/"))
    assert reader.get(draft).status_code == 404
    for act in ("", "/text", "/drop", "/save"):
        assert reader.post(draft + act, data={"csrf": csrf, "text": "x"}).status_code == 404, act
    assert writer.get(draft).status_code == 200
    project = Project.load(own_folder)
    export(project, "beijing", requested_by="test")
    one = deliveries_made(project)[0]
    file = f"/deliveries/{one.delivery_id}/files/{Path(one.path).name}?purpose=x"
    assert program("viewer").get(file).status_code == 403


def token_in(answer: Any) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
    assert found
    return found[1]


def test_a_name_leads_nowhere_but_to_its_own_file(program: Enter, own_folder: Path) -> None:
    client, before = program("admin"), files_of(own_folder)
    for name in ESCAPES:
        ways = [("GET", f"/audiences/{name}"), ("GET", f"/audiences/{name}/reach"), ("GET", f"/tags/{name}")]
        ways += [("GET", f"/campaigns/{name}/plan"), ("GET", f"/deliveries/{name}")]
        ways += [("PUT", f"/audiences/{name}"), ("POST", f"/audiences/{name}/deliver")]
        for method, way in ways:
            headers = {} if method == "GET" else {"If-None-Match": "*", "Idempotency-Key": "x"}
            body = None if method == "GET" else {"text": BEIJING} if method == "PUT" else {}
            answer = client.request(method, way, headers=headers, json=body)
            assert answer.status_code in (404, 405, 422, 307), f"{method} {way}: {answer.status_code}"
            assert "root:" not in answer.text and "secret" not in answer.text
    to = client.post("/audiences/beijing/deliver", json={"platform": "../../x"}, headers={"Idempotency-Key": "y"})
    assert to.status_code == 422
    assert files_of(own_folder) == before


def test_a_delivered_file_is_one_of_its_own_folder_whatever_its_manifest_says(program: Enter, own_folder: Path) -> None:
    project = Project.load(own_folder)
    export(project, "beijing", requested_by="test")
    one = deliveries_made(project)[0]
    folder, file = Path(one.path).parent, Path(one.path).name
    client = program("marketer")
    manifest = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "link.csv").symlink_to(own_folder / "huaxiang.yaml")
    for name in ("../../huaxiang.yaml", "/etc/passwd", "link.csv", "manifest.json\0"):
        (folder / "manifest.json").write_text(manifest.replace(file, name.replace("\0", "\\u0000")), encoding="utf-8")
        told = client.get(f"/deliveries/{one.delivery_id}").json()
        assert not any(f["is_there"] for f in told["files"]), name
        for asked in (name.replace("/", "%2f").replace("\0", "%00"), file):
            answer = client.get(f"/deliveries/{one.delivery_id}/files/{asked}?purpose=x")
            assert answer.status_code in (404, 422), name
    (folder / "manifest.json").write_text(manifest, encoding="utf-8")
    assert client.get(f"/deliveries/{one.delivery_id}/files/{file}?purpose=x").status_code == 200
    for outside in ("manifest.json", "link.csv", "../beijing.yaml"):
        outside = outside.replace("/", "%2f")
        assert client.get(f"/deliveries/{one.delivery_id}/files/{outside}?purpose=x").status_code == 404


@pytest.mark.parametrize("form", ["plain", "excel"])
def test_no_cell_of_a_downloaded_file_is_a_formula(program: Enter, own_folder: Path, form: str) -> None:
    hostile = {1: '=HYPERLINK("//evil")', 2: "+cmd|' /C calc'!A0", 3: "@SUM(1)", 4: "\t=1+1", 5: "＝1+1", 6: "-2+3"}
    shop = Shop.at(own_folder)
    shop.release(D, people(**{f"u{uid}": {"register_city": text} for uid, text in hostile.items()}), number=2)
    shop.define("everybody", EVERYBODY.replace("FORMAT", form))
    project = Project.load(own_folder)
    export(project, "everybody", requested_by="test", force=True)
    one = next(d for d in deliveries_made(project) if d.audience == "everybody")
    way = f"/deliveries/{one.delivery_id}/files/{Path(one.path).name}?purpose=x"
    answer = program("marketer").get(way)
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
    cells = [cell for row in rows for cell in row]
    assert sum("HYPERLINK" in c for c in cells) == 1 and len(rows) > len(hostile)
    assert [c for c in cells if starts_formula(c)] == []
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_looks_like_sql_is_text(program: Enter, state: State) -> None:
    client = program("admin")
    for said in INJECTED:
        assert client.post("/users/search", json={"value": said}).status_code == 404
        searched = client.post("/users/search", json={"kind": "member", "value": said, "purpose": said})
        assert searched.status_code == 404
        for way in ("/tags", "/segments", "/audiences", "/users", "/campaigns", "/deliveries", "/jobs"):
            assert client.get(f"{way}/{said.replace('/', '')}").status_code in (404, 422), f"{way} {said}"
        assert client.get("/tags", params={"q": said}).json()["items"] == []
        assert client.get("/deliveries", params={"audience": said}).json()["items"] == []
        assert client.get("/jobs", params={"audience": said}).json()["items"] == []
        assert client.get("/audiences/beijing/reach", params={"to": said}).status_code == 404
        assert client.get("/audiences/beijing/profile", params={"tag": said}).status_code == 404
        draft = EVERYBODY.replace("FORMAT", "plain").replace("female", json.dumps(said))
        assert client.post("/audiences/preview", json={"text": draft}).json().get("users", 0) == 0
    assert state.is_ready()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: !!python/object/apply:os.system ['touch /tmp/x']", "python/object"),
        ("a: &a [x]\nname: [*a, *a]", "aliases"),
        ("name: {zh: 名, en: N}\nname: {zh: 名, en: N}", "name"),
        ("{" * 120 + "}" * 120, "deep"),
        ("[" * 50_000, "deep"),
        ("include: " + "{not: " * 90 + "{tag: gender, is: female}" + "}" * 90, "deep"),
        ("x" * (MOST_CHARACTERS + 1), str(MOST_CHARACTERS)),
        ("name: \0", "YAML"),
        (BEIJING.replace("all:\n", "all:\n" + "    - {tag: gender, is: female}\n" * 400), "conditions"),
    ],
)
def test_yaml_that_runs_multiplies_nests_or_swells_is_refused_with_a_clear_word(
    program: Enter, text: str, said: str
) -> None:
    client = program("marketer")
    for answer in (
        client.post("/audiences/preview", json={"text": text}),
        client.put("/audiences/mine", json={"text": text}, headers={"If-None-Match": "*"}),
    ):
        assert answer.status_code == 422 and answer.elapsed.total_seconds() < 5
        assert said.lower() in answer.text.replace(",", "").lower(), answer.text[:500]
    assert client.get("/audiences/mine").status_code == 404


def test_a_body_that_nests_swells_or_is_none_is_refused(program: Enter) -> None:
    client = program("marketer")
    nested = "[" * 100_000 + "]" * 100_000
    for body in (nested, '{"text":' * 20_000, "{", "null", "[]", '{"text": 1}', '{"text": "x", "more": 1}', "\xff\xfe"):
        answer = client.post(
            "/audiences/preview", content=body.encode("latin-1"), headers={"Content-Type": "application/json"}
        )
        assert 400 <= answer.status_code < 500, body[:40]
        assert answer.headers["content-type"] == "application/problem+json", body[:40]
    large = client.post("/audiences/preview", json={"text": "x" * (9 << 20)})
    assert large.status_code == 413
    long = {"Idempotency-Key": "k" * 5_000}
    assert client.post("/audiences/beijing/build", json={}, headers=long).status_code == 422
    assert client.get("/tags", params={"limit": 10**30}).status_code == 422
    assert client.get(f"/users/{10**18}").status_code in (404, 422)
    assert program("analyst").get(f"/users/{2**62}/history").status_code in (404, 422)


def test_an_option_cannot_be_smuggled_into_the_command_of_a_job(program: Enter) -> None:
    client = program("marketer")
    for body in ({"reason": "--full"}, {"reason": "x\n--project=/"}):
        job = client.post(
            "/audiences/beijing/build", json=body, headers={"Idempotency-Key": body["reason"].encode().hex()}
        )
        assert job.json()["arguments"]["reason"] == body["reason"]
    from portal.requests import request_of

    command = request_of("audience.build", {"audience": "beijing", "reason": "--full"}).command(Path("/shop"), "li")
    assert "--full" not in command and command[-2:] == ["--", "beijing"]
    for platform in ("--full", "-x", "a b", "x\ny"):
        answer = client.post(
            "/audiences/beijing/deliver", json={"platform": platform}, headers={"Idempotency-Key": "z"}
        )
        assert answer.status_code == 422


def test_script_in_any_name_is_text_wherever_it_is_shown(program: Enter, enter: Enter, own_folder: Path) -> None:
    client = program("admin")
    hostile = BEIJING.replace("北京高频浏览未购资生堂", f"'{SCRIPT}'").replace("素材原文人群", f"'{SCRIPT}'")
    hostile = hostile.replace("owner: crm", f"owner: '{SCRIPT}'\nfolder: '{SCRIPT}'")
    saved = client.put("/audiences/hostile", json={"text": hostile, "reason": SCRIPT}, headers={"If-None-Match": "*"})
    assert saved.status_code == 201, saved.text
    client.post("/audiences/hostile/build", json={"reason": SCRIPT}, headers={"Idempotency-Key": SCRIPT})
    browser = enter("admin")
    shown = 0
    for way in ("/audiences", "/audiences/hostile", f"/audiences?folder={SCRIPT}", f"/tags?q={SCRIPT}", "/deliveries"):
        text = browser.get(way).text
        assert SCRIPT not in text, way
        shown += "&lt;script&gt;" in text
    assert shown >= 2
    draft = browser.post("/audiences/hostile/edit", data={"csrf": token_in(browser.get("/audiences/hostile"))})
    assert SCRIPT not in browser.get(draft.headers["location"]).text


def test_script_in_any_part_of_an_address_comes_back_from_nowhere(program: Enter, enter: Enter) -> None:
    browser, client = enter("admin"), program("admin")
    assert isinstance(browser.app, object)
    for route in browser.app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, APIRoute)
        if "GET" not in route.methods or "sign-in/oidc" in route.path:
            continue
        way = re.sub(r"\{[^}]*\}", "%3Cscript%3Ealert(1)%3C%2fscript%3E", route.path)
        query = "?q=S&show=S&audience=S&page=S&next=S&lang=S&folder=S&tag=S&value=S&like=S&kind=S&cursor=S&v=S&show=S"
        asker: TestClient = client if route.path.startswith("/api/") else browser
        answer = asker.get(f"http://localhost{way}{query.replace('S', SCRIPT)}")
        assert answer.status_code < 500, way
        if "html" in answer.headers.get("content-type", ""):
            assert SCRIPT not in answer.text, way
        else:
            assert answer.headers["x-content-type-options"] == "nosniff", way


def test_a_thousand_ranges_of_a_file_give_no_more_than_the_file(program: Enter, own_folder: Path) -> None:
    project = Project.load(own_folder)
    export(project, "beijing", requested_by="test")
    one = deliveries_made(project)[0]
    way = f"/deliveries/{one.delivery_id}/files/{Path(one.path).name}?purpose=x"
    client, size = program("marketer"), Path(one.path).stat().st_size
    for ranges in ("bytes=" + ",".join(["0-"] * 1000), "bytes=" + ",".join(f"{i}-{i + 20}" for i in range(100))):
        answer = client.get(way, headers={"Range": ranges})
        assert answer.status_code in (200, 206) and len(answer.content) <= size + 2000
    assert client.get(way, headers={"Range": "bytes=-"}).status_code in (200, 400, 416)


def test_every_attack_of_the_table_has_its_test() -> None:
    named = re.findall(r"`(test_\w+)`", DOCUMENT.read_text(encoding="utf-8"))
    there = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 15 and set(named) <= there
    mine = set(re.findall(r"^def (test_\w+)", Path(__file__).read_text(encoding="utf-8"), re.MULTILINE))
    assert mine - set(named) == {"test_every_attack_of_the_table_has_its_test"}
