"""The card for a chat's side bar says what the whole card says, by any id, and one advice first."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lake.local_cache import FOLDER
from project.advice import advised
from project.check import check_tags
from project.folder import Project
from queries.side_card import SideCards
from queries.user import IDENTIFIERS, card
from schemas.errors import NotThereError
from tests.report.made_shop import MadeShop
from tests.report.test_card import typed


def with_order(shop: MadeShop, *order: str) -> Project:
    """The shop's project whose settings name this order of segmentations."""
    path = shop.folder / "huaxiang.yaml"
    settings = yaml.safe_load(path.read_text(encoding="utf-8")) | {"advice": list(order)}
    return shop.project.over(shop.lake).__class__(
        shop.folder, shop.project.settings.model_copy(update={"advice": tuple(settings["advice"])})
    )


def ids_of(shop: MadeShop, uid: int) -> list[tuple[str, str]]:
    """Kind and value of the person's present ids."""
    rows = shop.lake.dataset(IDENTIFIERS).to_table().to_pylist()
    return [(r["id_kind"], r["id_value"]) for r in rows if r["uid"] == uid and r["until_day"] is None]


def test_every_known_tag_is_that_of_the_whole_card(made: MadeShop) -> None:
    cards = SideCards(made.project)
    for uid in (1, 4, 9, 300):
        whole = {t.id: (t.value_zh, t.value_en) for g in card(made.project, uid).groups for t in g.tags}
        found = cards.of(uid)
        said = {t["id"]: (t["value_zh"], t["value_en"]) for g in found["groups"] for t in g["tags"]}
        assert said == {n: v for n, v in whole.items() if v != (None, None)}
        assert found["unknown_tags"] == len(whole) - len(said)
        assert (found["uid"], found["user_id"]) == (uid, f"u{uid:06}")


def test_it_holds_no_id_and_no_contact(made: MadeShop) -> None:
    text = json.dumps(SideCards(made.project).of(4), ensure_ascii=False)
    assert ids_of(made, 4) and not any(value in text for _, value in ids_of(made, 4))


def test_an_id_finds_its_person_and_another_nobody(made: MadeShop) -> None:
    cards = SideCards(made.project)
    assert cards.uid_of("user_id", "u000004") == 4
    assert [cards.uid_of(kind, value) for kind, value in ids_of(made, 4)] == [4] * len(ids_of(made, 4))
    with pytest.raises(NotThereError) as missed:
        cards.uid_of("phone", "13900139000")
    assert "13900139000" not in str(missed.value)


def test_who_is_not_in_the_release_is_said_so(made: MadeShop) -> None:
    with pytest.raises(NotThereError, match="not in release"):
        SideCards(made.project).of(99_999)
    with pytest.raises(NotThereError, match="not in release"):
        SideCards(made.project).of(12_345_678)


def test_the_first_of_the_declared_order_is_the_advice_and_the_others_say_what_they_look_at(made: MadeShop) -> None:
    schemes = [n for n in made.project.catalogue.schemes if made.project.catalogue.tags[n].strategies]
    assert len(schemes) >= 2
    for order in (schemes, schemes[::-1]):
        project = with_order(made, *order)
        values = next(v for v in ({t["id"]: t["value"] for g in SideCards(project).of(u)["groups"] for t in g["tags"]}
                                  for u in range(1, 50)) if len(advised(project.catalogue, order, v)) > 1)  # fmt: skip
        found = advised(project.catalogue, order, values)
        places = [order.index(a.scheme) for a in found]
        assert places == sorted(places)
        assert all(a.window.zh and a.window.en for a in found)


def test_what_is_no_segmentation_is_named_with_its_place(made: MadeShop, tmp_path: Path) -> None:
    shop = MadeShop(tmp_path / "shop", users=3)
    path = shop.folder / "huaxiang.yaml"
    scheme = next(n for n in shop.project.catalogue.schemes if shop.project.catalogue.tags[n].strategies)
    path.write_text(path.read_text(encoding="utf-8") + f"advice: [{scheme}x]\n", encoding="utf-8")
    (line,) = [w for w in check_tags(Project.load(shop.folder)).warnings if "advice:" in w]
    assert line.startswith(f"{path}:") and f"'{scheme}x'" in line and f"did you mean {scheme!r}" in line


def test_rows_are_written_once_and_read_by_everybody(made: MadeShop) -> None:
    SideCards(made.project).of(4)
    kept = {p: p.stat().st_mtime_ns for p in Path(made.lake.store.path(FOLDER)).rglob("_rows-0")}
    assert len(kept) == 1
    SideCards(made.project).of(5)
    assert all(p.read_bytes() for p in kept) and len(list(Path(made.lake.store.path(FOLDER)).rglob("_rows-0"))) == 1


def test_the_verb_prints_it_and_refuses_what_it_has_not(made: MadeShop) -> None:
    said = json.loads(typed(made, "user", "4", "--side"))
    assert said["uid"] == 4 and "groups" in said
    assert "--side shows no ids" in typed(made, "user", "4", "--side", "--reveal", "--purpose", "x", "--json", code=2)
