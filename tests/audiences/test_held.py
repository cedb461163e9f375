"""An audience that is made from a held tag says so, and leaves by force only."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cli import audience as verbs
from cli import tag as tag_verbs
from tests.audiences.lake_shop import BEIJING, TAGS, D, Shop, beijing_shop, people

app = typer.Typer()
app.add_typer(verbs.audience, name="audience")
app.add_typer(tag_verbs.tag, name="tag")
SINCE = date(2026, 3, 8)
SHARED = TAGS.replace("    attribute: gender\n", "    attribute: gender\n    on_break: hold\n")
BUILT_ON = """\
  - id: kind
    name: {zh: 类别, en: Kind}
    description: {zh: 类别, en: Kind}
    path: [基本信息, 人口信息, 类别]
    method: rule
    type: string
    values: [woman, other]
    empty: other
    rules: [{when: gender = 'female', value: woman}]
    else: other
"""
OTHERS = BEIJING.replace("    - {tag: register_city, is: 北京}\n", "    - {tag: kind, is: woman}\n")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``gender`` is held by wish and ``kind`` is made from it; the file of ``beijing`` needs neither."""
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    (shop.folder / "tags" / "all.yaml").write_text(SHARED + BUILT_ON, encoding="utf-8")
    shop.define("women", OTHERS)
    shop.lake.ensure("profile.profile", shop.project.catalogue.columns)
    counts = dict.fromkeys(("changed_users", "declared_users", "compared_users", "agreeing_users"), 0)
    row = {"as_of": D, "is_member": True, "base_users": 8, "known_users": 8, "spec": "a.b", **counts}
    rows = [
        {**row, "tag": "gender", "verdict": "act", "psi": 0.7, "held_since": SINCE, "held_by": "gender"},
        {**row, "tag": "kind", "verdict": "stable", "psi": 0.0, "held_by": "gender"},
        {**row, "tag": "register_city", "verdict": "stable", "psi": 0.0},
    ]
    shop.put("profile.tag_quality", rows)
    shop.release(D, [{**p, "kind": "woman"} for p in people()], number=2)
    return shop.folder


def typed(shop: Shop, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--project", str(shop.folder)])
    assert done.exit_code == code, done.output
    return done.output


def as_json(shop: Shop, *words: str, code: int = 0) -> Any:
    return json.loads(typed(shop, *words, "--json", code=code))


def test_a_preview_names_the_held_tag_that_it_is_made_from(shop: Shop) -> None:
    (note,) = as_json(shop, "audience", "preview", "women")["warnings"]
    assert "made from gender (held since 2026-03-08), that is from older values; an export needs --force" in note
    assert "huaxiang tag accept gender" in note
    assert as_json(shop, "audience", "preview", "beijing")["warnings"] == []


def test_an_export_stops_before_anything_leaves_and_force_says_so_in_the_manifest(shop: Shop) -> None:
    said = typed(shop, "audience", "export", code=5)
    assert "audience 'women' is made from gender (held since 2026-03-08)" in said
    assert "beijing" not in said
    assert not list(shop.project.exports.rglob("*.csv"))
    (done,) = as_json(shop, "audience", "export", "women", "--force")
    manifest = json.loads(Path(done["manifest"]).read_text(encoding="utf-8"))
    assert manifest["held_tags"] == {"gender": "2026-03-08"}
    assert "delivered by force: made from gender (held since 2026-03-08)" in manifest["notes"][0]
    assert "delivered by force" in typed(shop, "audience", "export", "women", "--force", "--again")


def test_what_needs_no_held_tag_leaves_as_ever(shop: Shop) -> None:
    (done,) = as_json(shop, "audience", "export", "beijing")
    assert "held_tags" not in json.loads(Path(done["manifest"]).read_text(encoding="utf-8"))


def test_a_tag_page_says_that_it_is_held_or_made_from_what_is(shop: Shop) -> None:
    assert "note: held since 2026-03-08: it keeps the values" in typed(shop, "tag", "show", "gender")
    assert "note: made from gender (held since 2026-03-08)" in typed(shop, "tag", "show", "kind")
    assert as_json(shop, "tag", "show", "register_city")["standing"]["held"] == {}


def test_accepting_is_noted_once_with_who_and_when(shop: Shop) -> None:
    assert "did you mean 'gender'" in typed(shop, "tag", "accept", "gendre", code=7)
    typed(shop, "tag", "accept", code=2)
    assert "register_city is not held on 2026-03-10" in typed(shop, "tag", "accept", "register_city")
    said = typed(shop, "tag", "accept", "gender", "--by", "li")
    assert "gender, held since 2026-03-08: accepted 20" in said and "by li" in said
    assert "`huaxiang run --as-of 2026-03-10 --force`" in said
    again = as_json(shop, "tag", "accept", "--all", "--by", "wang")["accepted"]
    assert [(a["tag"], a["accepted_by"], a["already"]) for a in again] == [("gender", "li", True)]
