"""A definition as it is built: fields of a form and back, and changes that leave everything else as it is written."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from audiences.builder import tree
from audiences.builder.fields import Form
from audiences.builder.written import MOST_CHARACTERS, definition_in, definition_text, edited
from audiences.compiler import compile_audience, fixed_attributes
from audiences.conditions import Condition
from audiences.language import definition_hash, read_text
from audiences.operands import Attribute
from project.attributes import attributes
from project.loading import load_catalogue
from schemas.configuration import Words
from schemas.errors import ConfigurationError, UsageError
from tests.audiences.random_shop import HEAD, definition

ROOT = Path(__file__).parents[2]
CONF = ROOT / "conf"
FILE = Path("audiences/trial.yaml")
SHIPPED = sorted((CONF / "audiences").glob("*.yaml"))
CONDITION: TypeAdapter[Any] = TypeAdapter(Condition)
W = Words(zh="标", en="tag")
TYPES: dict[str, Any] = {
    "register_city": "string", "gender": "string", "paid_amount_90d": "int64", "was_invited": "bool",
    "last_purchase_day": "date", "mean_gap": "float64", "active_hour": "int32", "loyal_stage": "string",
    "silent_days": "int64",
}  # fmt: skip
TAGS = {
    n: Attribute(n, t, W, W, unit="minor" if n == "paid_amount_90d" else None, bands=("<7", "7..29", ">=30") if n == "silent_days" else ())
    for n, t in TYPES.items()
}  # fmt: skip
FORM = Form({**fixed_attributes(), **TAGS}, "CNY")
EXAMPLE = """\
# 资生堂的复购提醒。
name: {zh: 试, en: Trial}   # both
description: {zh: 试, en: Trial}
owner: crm
include:
  all:
    - {tag: register_city, is: 北京}   # as they said it
    - event: pay
      at_least: 1

    - {tag: was_invited, is: yes}
exclude:
  any:
    - {audience: other}   # one message
    - {users: [m000001]}
export:
  columns: [user_id]
  note_of_ours: kept
"""


def _every_condition(content: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for _, _, c in tree.every_block(content)]


@given(st.integers(0, 10**9))
def test_a_condition_goes_to_fields_and_back_unchanged(seed: int) -> None:
    for condition in _every_condition(definition(random.Random(seed), ["other"])):
        kind = tree.condition_kind(condition)
        fields = FORM.fields_of(condition)
        if kind in ("all", "any", "not"):
            assert fields is None
            continue
        assert fields is not None, condition
        assert FORM.condition_of(kind, fields, condition) == condition


@given(st.integers(0, 10**9))
def test_fields_say_the_whole_condition(seed: int) -> None:
    """Typed into an empty form they say the same: nothing of it comes from what stood there before."""
    for condition in _every_condition(definition(random.Random(seed), ["other"])):
        if (fields := FORM.fields_of(condition)) is None:
            continue
        kind = tree.condition_kind(condition)
        wanted = condition
        if kind in ("top", "sample"):
            # Among whom is a block of its own; a seed is its digits, a number or a text of them.
            wanted = {kind: {k: str(v) if k == "seed" else v for k, v in condition[kind].items() if k != "among"}}
        made = FORM.condition_of(kind, fields, {})
        assert CONDITION.validate_python(made) == CONDITION.validate_python(wanted), (made, wanted)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: p.stem)
def test_a_shipped_audience_stays_as_it_is_written_through_tree_form_and_text(path: Path) -> None:
    form = Form(
        {**fixed_attributes(), **attributes(load_catalogue(sorted((CONF / "tags").glob("*.yaml")), "CNY"))}, "CNY"
    )
    text = path.read_text(encoding="utf-8")
    content = definition_in(text, path)
    for place, _, condition in list(tree.every_block(content)):
        kind = tree.condition_kind(condition)
        if kind in ("all", "any", "not"):
            continue
        fields = form.fields_of(condition)
        assert fields is not None
        said = form.condition_of(kind, fields, condition)
        again, _ = edited(text, path, lambda c, place=place, said=said: tree.change(c, place, said))
        assert again == text


@given(st.integers(0, 10**9))
def test_what_is_done_to_a_tree_is_done_to_its_text_and_undone(seed: int) -> None:
    chance = random.Random(seed)
    content = {**yaml.safe_load(HEAD), **definition(chance, ["other"])}
    text = definition_text(content)
    assert definition_in(text, FILE) == content
    for _ in range(4):
        place, _, _ = chance.choice(list(tree.every_block(content)))
        done = chance.choice(
            [
                lambda c, p=place: tree.add(c, p, {"event": "view"}),
                lambda c, p=place: tree.clone(c, p),
                lambda c, p=place: tree.switch(c, p, False),
                lambda c, p=place: tree.move(c, p, 1),
                lambda c, p=place: tree.regroup(c, p, "not"),
                lambda c, p=place: tree.regroup(c, p, "any"),
                lambda c, p=place: tree.remove(c, p),
            ]
        )
        try:
            after, _ = edited(text, FILE, done)
        except UsageError:
            continue
        done(content)
        assert definition_in(after, FILE) == content
        text = after


def test_what_the_form_does_not_show_stays_untouched() -> None:
    said = {"tag": "register_city", "is": ["北京", "no"]}
    text, _ = edited(EXAMPLE, FILE, lambda c: tree.change(c, ("include", "all", 0), said))
    before, after = EXAMPLE.splitlines(), text.splitlines()
    assert after[6] == '    - {tag: register_city, is: [北京, "no"]} # as they said it'
    assert [*before[:6], *before[7:]] == [*after[:6], *after[7:]]


def test_a_change_that_cannot_be_written_without_touching_the_rest_is_refused() -> None:
    """The tree of comments cannot write this file as it was; nothing of it is changed in silence."""
    text = EXAMPLE.replace("    - {tag: register_city", "    # the city\n    - {tag: register_city")
    with pytest.raises(ConfigurationError, match="make it in the text"):
        edited(text, FILE, lambda c: tree.move(c, ("exclude", "any", 0), 1))


def test_a_condition_that_moves_takes_its_comment_along() -> None:
    text, place = edited(EXAMPLE, FILE, lambda c: tree.move(c, ("exclude", "any", 0), 1))
    assert place == ("exclude", "any", 1)
    assert "    - {users: [m000001]}\n    - {audience: other}   # one message\n" in text


def test_a_tag_that_is_text_keeps_what_looks_like_a_number_or_a_day() -> None:
    fields = {"tag": ["register_city"], "op.0": ["is"], "value.0": ["1", "2026-01-01", "yes"]}
    made = FORM.condition_of("tag", fields, {})
    text, _ = edited(EXAMPLE, FILE, lambda c: tree.change(c, ("include", "all", 0), made))
    assert definition_in(text, FILE)["include"]["all"][0]["is"] == ["1", "2026-01-01", "yes"]


def test_money_is_shown_and_read_in_main_units() -> None:
    condition = {"tag": "paid_amount_90d", "at_least": 29900}
    fields = FORM.fields_of(condition)
    assert fields is not None and fields["value.0"] == ["299.00"]
    assert FORM.condition_of("tag", {**fields, "value.0": ["1,300.50"]}, condition)["at_least"] == 130_050


def test_a_key_that_the_form_does_not_know_is_kept() -> None:
    condition = {"event": "pay", "at_least": 1, "note_of_ours": "why"}
    fields = FORM.fields_of(condition)
    assert fields is not None
    assert FORM.condition_of("event", {**fields, "value.0": ["2"]}, condition) == {**condition, "at_least": 2}


def test_a_condition_that_is_switched_off_counts_as_if_it_were_not_there() -> None:
    catalogue = TAGS

    def plan(text: str) -> Any:
        return compile_audience(read_text(text, FILE), {}, catalogue, currency="CNY").root

    on = plan(HEAD + "include: {all: [{tag: register_city, is: 北京}]}\n")
    off = HEAD + (
        "include: {all: [{tag: gender, is: a, disabled: true}, {tag: register_city, is: 北京},"
        " {any: [{event: view, disabled: true}]}]}\nexclude: {tag: was_invited, is: true, disabled: true}\n"
    )
    found = plan(off)
    assert found.exclude is None
    assert [p.text for p in found.include.parts] == [p.text for p in on.include.parts]
    assert found.include.parts[0].place == "include.all.1"
    assert read_text(off, FILE).switched_off() == ("include.all.0", "include.all.2.any.0", "exclude")
    with pytest.raises(ConfigurationError, match="every condition of it is switched off"):
        plan(HEAD + "include: {all: [{event: view, disabled: true}]}\n")


def test_switching_off_leaves_the_hash_of_other_definitions_alone() -> None:
    """What stands in the lake was hashed before there was a switch."""
    text = HEAD + "include: {all: [{tag: register_city, is: 北京}]}\n"
    on = read_text(text, FILE)
    assert "disabled" not in str(on.content)
    off = read_text(text.replace("is: 北京}", "is: 北京, disabled: true}"), FILE)
    assert definition_hash(off, {}) != definition_hash(on, {})


def test_the_last_condition_cannot_go_and_an_empty_group_goes_with_its_last() -> None:
    content = yaml.safe_load(
        HEAD + "include: {all: [{any: [{event: view}]}, {event: pay}]}\nexclude: {not: {event: cart}}\n"
    )
    tree.remove(content, ("include", "all", 0, "any", 0))
    tree.remove(content, ("exclude", "not"))
    assert content["include"] == {"all": [{"event": "pay"}]} and "exclude" not in content
    with pytest.raises(UsageError, match="at least one condition"):
        tree.remove(content, ("include", "all", 0))


def test_an_excluding_condition_stands_in_a_group_of_any() -> None:
    content = yaml.safe_load(HEAD + "include: {event: view}\n")
    assert tree.add(content, ("exclude",), {"event": "pay"}) == ("exclude", "any", 0)
    assert tree.add(content, ("include",), {"event": "pay"}) == ("include", "all", 1)
    assert content["include"] == {"all": [{"event": "view"}, {"event": "pay"}]}


@pytest.mark.parametrize(
    "place", ["include.all.0.__class__", "../x", "owner", "include.all.-1", "name.zh", "", "include..0"]
)
def test_a_place_that_is_none_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match="is no place"):
        tree.condition_place(place)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &a [x, x]\nb: [*a, *a]\n", "aliases"),
        ("a: !!python/object/apply:os.system [ls]\n", "not valid YAML"),
        ("include: " + "{not: " * 200 + "x" + "}" * 200, "nested more than"),
        ("x: " + "y" * MOST_CHARACTERS, "characters are more than"),
        ("- a\n- b\n", "a definition is a mapping"),
        ("a: 1\na: 2\n", "stands twice"),
    ],
)
def test_text_that_is_a_trap_is_refused_before_it_is_built(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        edited(text, FILE, lambda c: None)


def test_a_definition_that_no_form_can_show_is_refused_in_words() -> None:
    deep: dict[str, Any] = {"event": "view"}
    for _ in range(tree.MOST_NESTED + 1):
        deep = {"not": deep}
    with pytest.raises(UsageError, match="nested more than"):
        tree.refuse_too_large({"include": deep})
    with pytest.raises(UsageError, match="too many for one form"):
        tree.refuse_too_large({"include": {"all": [{"event": "view"}] * tree.MOST_BLOCKS}})
