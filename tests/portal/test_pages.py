"""Pages of the shop: what they show is what the release says, in both languages, with nothing inline and nothing unescaped."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import select

from features.tags import PATHS
from jobs.audiences.export import export
from lake.sql import connect
from portal.access import looks_since
from portal.state.opened import State
from portal.state.tables import AccessRow
from project.folder import Project
from project.loading import load_catalogue
from queries.deliveries import deliveries_made, delivery_page
from queries.tag_search import audiences_by_tag, tags_found
from tests.portal.conftest import Enter, browsers, csrf_of
from tests.report.made_shop import MadeShop

PAGES = ("/", "/tags", "/tags/register_city", "/segments", "/deliveries", "/campaigns", "/users", "/sign-in")
SCRIPTED = "<script>alert(1)</script>"
AUDIENCE = "beijing"


class Inline(HTMLParser):
    """What a content policy would refuse in a page, and addresses that lead elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "style" or (tag == "script" and not given.get("src") and given.get("type") != "application/json"):
            self.found.append(tag)
        self.found += [name for name in given if name == "style" or name.startswith(("on", "hx-on"))]
        for name in ("src", "href", "action"):
            if (to := given.get(name) or "") and re.match(r"(?i)\s*(https?:|//|javascript:)", to):
                self.found.append(f"{name}={to}")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeShop:
    """A shop with every table that the report reads."""
    return MadeShop(tmp_path_factory.mktemp("made") / "shop")


@pytest.fixture
def look(made: MadeShop, state: State) -> Iterator[Enter]:
    """As ``enter``, over that shop."""
    yield from browsers(made.project, state)


@pytest.fixture
def take(delivering: Project, state: State) -> Iterator[Enter]:
    """As ``enter``, over the shop with a delivery."""
    yield from browsers(delivering, state)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_page_answers_in_both_languages_with_nothing_inline(look: Enter, path: str, lang: str) -> None:
    client = look(None if path == "/sign-in" else "admin")
    answer = client.get(path, params={"lang": lang})
    assert answer.status_code == 200, answer.text
    assert f'<html lang="{"zh-CN" if lang == "zh" else "en"}"' in answer.text
    page = Inline()
    page.feed(answer.text)
    assert page.found == []
    body = re.sub(r"<script.*?</script>", "", answer.text.split("<main")[1], flags=re.S)
    assert bool(re.search("[一-鿿]", re.sub(r"<[^>]*>", "", body.split("</h1>")[0]))) == (lang == "zh")


def test_a_language_and_a_theme_are_remembered(enter: Enter) -> None:
    client = enter("viewer")
    client.get("/?lang=en&theme=dark")
    again = client.get("/").text
    assert '<html lang="en"' in again and 'data-theme="dark"' in again


def test_every_chapter_of_segments_has_a_page_and_an_unknown_one_is_said(look: Enter) -> None:
    client = look("viewer")
    ways = set(re.findall(r'href="(/segments/[a-z]+)"', client.get("/segments").text))
    assert {"/segments/rfm", "/segments/aipl", "/segments/lifecycle"} <= ways
    for way in ways:
        page = Inline()
        answer = client.get(way)
        page.feed(answer.text)
        assert answer.status_code == 200 and page.found == [], way
    assert client.get("/segments/nothing").status_code == 404


def test_sizes_of_segments_are_those_of_the_profile(look: Enter, made: MadeShop) -> None:
    project = made.project
    with connect(project.lake, None, ("profile",)) as con:
        rows = con.execute(
            "select lifecycle, count(*) filter (is_member), count(*) filter (not is_member) from profile.profile "
            "where as_of = (select max(as_of) from profile.profile) and lifecycle is not null group by all"
        ).fetchall()
    text = look("marketer").get("/segments?lang=en").text
    part = text.split('href="/tags/lifecycle"')[1].split("</section>")[0]
    shown = {
        value: (int(members.replace(",", "")), int(visitors.replace(",", "")))
        for members, visitors, value in re.findall(
            r'<td class="n">([\d,]+)</td><td class="n">([\d,]+)</td>\s*<td><a[^>]*value=([a-z_]+)"', part
        )
    }
    assert rows and shown == {value: (members, visitors) for value, members, visitors in rows}


def test_who_may_not_write_is_offered_nothing_to_write(look: Enter) -> None:
    for path in ("/", "/segments", "/tags/register_city"):
        assert "/audiences/new" in look("marketer").get(path).text
        assert "/audiences/new" not in look("viewer").get(path).text


def test_tags_are_found_by_id_name_pinyin_and_initials() -> None:
    catalogue = load_catalogue(sorted(Path("conf/tags").glob("*.yaml")))
    for asked in ("register_city", "注册城市", "zccs", "zhucechengshi", "City of reg", "城市 注册"):
        assert "register_city" in [t.id for t in tags_found(catalogue, asked)], asked
    assert tags_found(catalogue, "no such thing at all") == []
    assert len(tags_found(catalogue, " ")) == len(catalogue.tags)


def test_the_list_of_tags_counts_what_uses_them_and_how_often_they_are_looked_at(
    look: Enter, state: State, made: MadeShop
) -> None:
    client = look("viewer")
    for _ in range(3):
        client.get("/tags/register_city")
    assert looks_since(state, "tag", 7) == {"register_city": 3}
    assert made.project.catalogue.users_of("register_city") == []
    assert "/tags/register_city" not in client.get("/tags?show=used").text
    assert "/tags/register_city" in client.get("/tags?show=unused").text
    assert client.get("/tags/no_such_tag").status_code == 404


def test_groups_of_tags_stand_in_the_order_of_the_catalogue_and_few_found_stand_open(look: Enter) -> None:
    client = look("viewer")
    groups = re.findall(r'<details class="card"( open)?><summary><h2>(\S+) / ', client.get("/tags").text)
    order = list(PATHS)
    assert [order.index(name) for _, name in groups] == sorted(order.index(name) for _, name in groups)
    found = re.findall(r'<details class="card"( open)?>', client.get("/tags?q=register_city").text)
    assert found and all(found)


def test_what_a_tag_is_made_from_is_said_in_the_language_of_the_page(look: Enter) -> None:
    client = look("viewer")
    for lang, kind, feed in (("zh", "资料", "会员"), ("en", "Attribute", "Members")):
        tree = client.get(f"/tags/lifecycle?lang={lang}").text.split('class="lineage"')[1].split("</section>")[0]
        assert f'<span class="chip">{kind}</span> <code>is_member</code>' in tree
        assert f'<span class="chip">{feed}</span>' in tree


def test_audiences_are_told_by_the_tags_that_they_name(enter: Enter, own_folder: Path) -> None:
    used = audiences_by_tag(Project.load(own_folder).audiences)
    assert used["register_city"] == [AUDIENCE]
    assert f'href="/audiences/{AUDIENCE}"' in enter("viewer").get("/tags?show=used").text


def test_a_name_with_script_in_it_is_shown_as_text(enter: Enter, own_folder: Path) -> None:
    path = own_folder / "audiences" / "hostile.yaml"
    path.write_text(
        f'name: {{zh: "{SCRIPTED}", en: "{SCRIPTED}"}}\ndescription: {{zh: x, en: x}}\nowner: "{SCRIPTED}"\n'
        "include: {tag: register_city, is: 北京}\n",
        encoding="utf-8",
    )
    (own_folder / "huaxiang.yaml").write_text(
        (own_folder / "huaxiang.yaml").read_text(encoding="utf-8").replace("name:", "# name:", 1)
        + f'\nname: {{zh: "{SCRIPTED}", en: "{SCRIPTED}"}}\n',
        encoding="utf-8",
    )
    client = enter("admin")
    for page in ("/", "/tags/register_city", "/deliveries", f"/tags?q={SCRIPTED}"):
        text = client.get(page).text
        assert SCRIPTED not in text, page
    assert "&lt;script&gt;" in client.get("/").text


@pytest.fixture(scope="module")
def delivering(shop_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the hand-made shop with one delivery."""
    folder = tmp_path_factory.mktemp("delivering") / "shop"
    shutil.copytree(shop_folder, folder)
    project = Project.load(folder)
    export(project, AUDIENCE, requested_by="test")
    return project


@pytest.fixture
def delivered(delivering: Project) -> str:
    return deliveries_made(delivering)[0].delivery_id


def test_a_delivery_is_shown_as_its_manifest_tells_it(delivered: str, take: Enter, delivering: Project) -> None:
    found = delivery_page(delivering, delivered)
    assert [d.delivery_id for d in deliveries_made(delivering)] == [delivered]
    client = take("viewer")
    assert f"/deliveries/{delivered}" in client.get("/deliveries").text
    text = client.get(f"/deliveries/{delivered}").text
    for step in found.manifest["funnel"]:
        assert step["zh"] in text
    assert found.delivery.checksum in text and found.files[0].name in text
    assert found.delivery.created_at.astimezone(delivering.zone_info).strftime("%Y-%m-%d %H:%M") in text
    assert "<button" not in text.split("<main")[1], "a viewer downloads nothing"
    assert client.get("/deliveries/../../etc/passwd").status_code == 404


def test_a_file_is_downloaded_for_a_purpose_and_the_download_is_noted(
    delivered: str, take: Enter, state: State, delivering: Project
) -> None:
    file = delivery_page(delivering, delivered).files[0]
    assert file.path is not None
    client = take("marketer")
    csrf = csrf_of(client)
    way = f"/deliveries/{delivered}/files/{file.name}"
    assert client.post(way, data={"csrf": csrf, "purpose": "  "}).status_code == 422
    assert client.post(way, data={"purpose": "call"}).status_code == 403, "no token of a form of ours"
    taken = client.post(way, data={"csrf": csrf, "purpose": "the call of April"})
    assert taken.status_code == 200 and taken.content == file.path.read_bytes()
    assert "attachment" in taken.headers["content-disposition"]
    with state.reading() as session:
        (row,) = session.scalars(select(AccessRow))
    assert (row.login, row.what, row.purpose) == ("marketer", "download", "the call of April")
    for hostile in ("manifest.json", "..%2fmanifest.json", "%2e%2e%2f%2e%2e%2fhuaxiang.yaml", "nothing.csv"):
        answer = client.post(f"/deliveries/{delivered}/files/{hostile}", data={"csrf": csrf, "purpose": "x"})
        assert answer.status_code == 404, hostile
    viewer = take("viewer")
    assert viewer.post(way, data={"csrf": csrf_of(viewer), "purpose": "x"}).status_code == 403


def test_a_manifest_that_names_a_file_elsewhere_gives_nothing_away(delivered: str, delivering: Project) -> None:
    found = delivery_page(delivering, delivered)
    folder = Path(found.delivery.path).parent
    manifest = (folder / "manifest.json").read_text(encoding="utf-8")
    try:
        (folder / "manifest.json").write_text(
            manifest.replace(found.files[0].name, "../../../huaxiang.yaml"), encoding="utf-8"
        )
        assert [f.path for f in delivery_page(delivering, delivered).files] == [None]
        (folder / "manifest.json").write_text("{", encoding="utf-8")
        assert delivery_page(delivering, delivered).problem is not None
    finally:
        (folder / "manifest.json").write_text(manifest, encoding="utf-8")


def test_a_person_is_looked_up_without_leaving_their_id_in_an_address(
    enter: Enter, state: State, own_folder: Path
) -> None:
    project = Project.load(own_folder)
    with connect(project.lake, None, ("identity", "silver")) as con:
        uid, user_id = (
            con.execute("select uid, user_id from profile.profile limit 1").fetchone()
            if False
            else con.execute(
                "select uid, user_id from identity.users where retired_day is null order by uid limit 1"
            ).fetchone()
        )
        phones = [p for (p,) in con.execute("select phone from silver.members where phone is not null").fetchall()]
    client = enter("marketer")
    csrf = csrf_of(client, "/users")
    found = client.post("/users", data={"csrf": csrf, "who": user_id})
    assert (found.status_code, found.headers["location"]) == (303, f"/users/{uid}")
    card = client.get(f"/users/{uid}")
    assert card.status_code == 200 and user_id in card.text
    assert not [p for p in phones if p in card.text], "masked"
    assert client.post("/users", data={"csrf": csrf, "who": "x", "by_member_id": "true"}).status_code == 422, (
        "without a purpose"
    )
    assert client.post(f"/users/{uid}", data={"csrf": csrf, "purpose": "call"}).status_code == 403, "a marketer may not"
    analyst = enter("analyst")
    token = csrf_of(analyst, "/users")
    assert analyst.post(f"/users/{uid}", data={"csrf": token}).status_code == 422
    assert analyst.post(f"/users/{uid}", data={"csrf": token, "purpose": "a complaint"}).status_code == 200
    with state.reading() as session:
        noted = [(r.login, r.what, r.purpose) for r in session.scalars(select(AccessRow).order_by(AccessRow.id))]
    assert ("analyst", "card in clear", "a complaint") in noted and ("marketer", "card", "") in noted
    assert enter("viewer").get(f"/users/{uid}").status_code == 403


def test_a_mistake_in_a_file_is_said_without_where_the_project_lies(enter: Enter, own_folder: Path) -> None:
    (own_folder / "audiences" / "broken.yaml").write_text("name: {zh: x, en: x}\nincluded: {}\n", encoding="utf-8")
    answer = enter("viewer").get("/audiences/beijing")
    assert "audiences/broken.yaml" in answer.text and str(own_folder) not in answer.text
