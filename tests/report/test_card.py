"""The one-user card: stages with their days, place in the tree, values by hand, and its page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from cli import audience as verbs
from cli.report import report as report_verb
from queries.user import REVEALS, card
from report.card import card_html, contacts, lanes, strategies
from report.words import Vocabulary
from schemas.text import Text
from tests.report.made_shop import HOSTILE, D, MadeShop

app = typer.Typer()
app.command("user")(verbs.user)
app.command("report")(report_verb)


def typed(shop: MadeShop, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--project", str(shop.folder)])
    assert done.exit_code == code, done.output
    return done.output


def test_stages_come_with_the_days_between_which_they_held(made: MadeShop) -> None:
    stays = [(s.value, s.from_day, s.until_day) for s in card(made.project, 4).history if s.tag == "lifecycle"]
    first, second, third = (D - timedelta(days=n) for n in (40, 20, 3))
    assert stays == [("prospect", first, second), ("new", second, third), ("growing", third, None)]


def test_what_came_after_the_day_of_the_release_is_not_shown(made: MadeShop) -> None:
    stays = [(s.value, s.until_day) for s in card(made.project, 4).history if s.tag == "aipl_stage"]
    assert stays == [("interest", None)]


def test_the_tree_tells_who_brought_them_and_whom_they_brought(made: MadeShop) -> None:
    middle = card(made.project, 2).tree
    assert middle is not None and middle.parent is not None
    assert (middle.level, middle.parent.uid, middle.parent.user_id) == (1, 1, "u000001")
    assert [(k.uid, k.user_id) for k in middle.children] == [(4, "u000004")]
    assert (middle.role["share_breadth"], middle.role["fission_kind"]) == (3, "membership")
    root = card(made.project, 1).tree
    assert root is not None and (root.level, root.parent, root.children_count) == (0, None, 2)
    assert card(made.project, 9).tree is None


def test_values_by_hand_and_declared_ones_are_told_apart(made: MadeShop) -> None:
    assert [(o.tag, o.origin, o.value) for o in card(made.project, 4).overrides] == [
        ("lifecycle", "manual", "mature"),
        ("register_city", "declared", "上海"),
    ]


def test_a_young_shop_has_cards_too(bare: MadeShop) -> None:
    found = card(bare.project, 4)
    assert (found.history, found.tree, found.overrides) == ((), None, ())
    assert "还没有记录到阶段变化" in card_html(bare.project, found)


def test_the_time_line_fills_the_days_from_the_first_stage_on(made: MadeShop) -> None:
    found = lanes(card(made.project, 4).history, D, Vocabulary(made.project.catalogue))
    assert len(found) == 2
    for lane in found:
        assert lane.before + sum(s.width for s in lane.spans) == pytest.approx(100)
        assert [s.now for s in lane.spans] == [False] * (len(lane.spans) - 1) + [True]


def test_the_page_masks_what_the_card_masks(made: MadeShop, tmp_path: Path) -> None:
    typed(made, "user", "4", "--html", str(tmp_path / "card.html"))
    text = (tmp_path / "card.html").read_text(encoding="utf-8")
    assert "13800138004" not in text and "138******04" in text
    assert HOSTILE not in text and "&lt;/script&gt;" in text
    assert "src=" not in text and "href=" not in text


def test_the_page_names_ids_shares_and_consent_and_says_what_to_do(made: MadeShop) -> None:
    found = card(made.project, 4)
    page = card_html(made.project, found)
    assert "marketing_consent" not in page and "<dt>phone</dt>" not in page
    assert "手机号" in page and page.count("138******04") == 1
    record = {"member_id": "000*****1", "phone": "138******04", "marketing_consent": False}
    assert contacts(replace(found, contacts=(record, record))) == [
        (Text("会员号", "Member id"), Text("000*****1", "000*****1")),
        (Text("同意营销触达", "Consent to marketing"), Text("否", "no")),
    ]
    said = strategies(made.project, found)
    assert all(strategy.zh and value.zh and window.zh for _, value, strategy, window in said)
    own = {t.id for g in found.groups for t in g.tags}
    assert bool(said) == any(t.strategies for n, t in made.project.catalogue.tags.items() if n in own and t.scheme)


def test_clear_text_is_logged_and_its_file_is_for_its_owner_only(made: MadeShop, tmp_path: Path) -> None:
    shop = MadeShop.at(tmp_path / "shop")
    shutil.copytree(made.folder, shop.folder)
    page = tmp_path / "card.html"
    typed(shop, "user", "4", "--html", str(page), "--reveal", "--purpose", "complaint 17", "--by", "li")
    assert "13800138004" in page.read_text(encoding="utf-8")
    assert page.stat().st_mode & 0o077 == 0
    (name,) = shop.lake.store.names(REVEALS)
    assert json.loads(shop.lake.store.read(name) or b"")["purpose"] == "complaint 17"


def test_the_terminal_shows_stages_tree_and_overrides(made: MadeShop) -> None:
    shown = typed(made, "user", "4", "--as-of", str(D))
    for expected in ("Stage history", "Share tree", "u000002 (uid 2)", "By hand and declared", "RFM: "):
        assert expected in shown


@pytest.mark.parametrize("words", [("report",), ("user", "4")])
def test_a_day_without_a_release_ends_with_7_and_names_the_days(made: MadeShop, words: tuple[str, ...]) -> None:
    said = json.loads(typed(made, *words, "--as-of", "2025-01-01", "--json", code=7))
    assert said["error"] == "NotThereError" and f"days with a release: {D}" in said["message"]


def test_the_report_verb_says_where_the_page_is(made: MadeShop, tmp_path: Path) -> None:
    page = tmp_path / "r.html"
    assert json.loads(typed(made, "report", "--out", str(page), "--json"))["file"] == str(page)
    assert "--lang is zh or en" in typed(made, "report", "--lang", "fr", "--json", code=2)
