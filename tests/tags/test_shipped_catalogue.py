"""The catalogue that is shipped: wide enough, in every leaf group, and told so that a marketer can use it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from audiences.language import read_folder
from features.tags import PATHS, UNKNOWN
from project.loading import load_mappings
from simulator.surveys import NOTES, QUESTIONS
from tests import shipped

CONF = Path(__file__).parents[2] / "conf"
CATALOGUE = shipped.catalogue()
TAGS = CATALOGUE.tags
LEAVES = [(group, leaf) for group, leaves in PATHS.items() for leaf in leaves]
SOURCES = {m.feed: m for m in load_mappings(sorted((CONF / "sources").glob("*.yaml")))}
CHINESE = re.compile("[\u4e00-\u9fff]")
STOCK = {"zh": 20, "en": 50}
"""Characters below which no text can say what is counted, what no value means and what it is good for."""


def test_there_are_at_least_120_tags_and_every_leaf_group_has_several() -> None:
    assert len(TAGS) >= 120
    counts = Counter(t.path[:2] for t in TAGS.values())
    assert {leaf: counts[leaf] for leaf in LEAVES if counts[leaf] < 3} == {}


def test_names_tell_tags_apart_in_both_languages() -> None:
    for language in ("zh", "en"):
        names = Counter(getattr(t.name, language) for t in TAGS.values())
        assert [n for n, times in names.items() if times > 1] == [], language
    assert [n for n, t in TAGS.items() if not CHINESE.search(t.name.zh) or CHINESE.search(t.name.en)] == []


@pytest.mark.parametrize("language", ["zh", "en"])
def test_descriptions_are_long_enough_to_use_and_more_than_the_name(language: str) -> None:
    short = {n: said for n, t in TAGS.items() if len(said := getattr(t.description, language)) < STOCK[language]}
    assert short == {}
    assert [n for n, t in TAGS.items() if getattr(t.description, language) == getattr(t.name, language)] == []


def test_descriptions_are_in_their_language_and_end_as_sentences() -> None:
    assert [n for n, t in TAGS.items() if not CHINESE.search(t.description.zh)] == []
    assert [n for n, t in TAGS.items() if not t.description.zh.endswith(("。", ")"))] == []
    assert [n for n, t in TAGS.items() if not t.description.en.endswith((".", ")"))] == []


def test_every_listed_value_but_numbers_has_a_label_in_both_languages() -> None:
    bare = {
        n: missing
        for n, t in TAGS.items()
        if (missing := [v for v in t.finite or () if v not in t.labels and not re.fullmatch(r"cluster_\d|\d+", v)])
    }
    assert bare == {}


def test_a_window_in_a_name_is_the_window_of_the_tag() -> None:
    wrong = [
        n for n, t in TAGS.items() if (m := re.search(r"_(\d+)d$", n)) and CATALOGUE.windows[n] not in (int(m[1]), None)
    ]
    # a fact that the name's rate is taken from may reach further; these do on purpose
    assert set(wrong) <= {"spend_change_30d"}


def test_rates_that_need_evidence_are_unknown_without_it() -> None:
    for name, t in TAGS.items():
        if t.type == "float64" and name.startswith(("click_rate", "cart_", "order_rate", "coupon_use_rate")):
            assert t.empty == UNKNOWN, name
            assert "case when" in (t.expression or ""), name


def test_audiences_name_tags_that_are_there() -> None:
    found = set()

    def look(said: object) -> None:
        if isinstance(said, dict):
            if isinstance(tag := said.get("tag"), str):
                found.add(tag)
            for value in said.values():
                look(value)
        elif isinstance(said, list):
            for value in said:
                look(value)

    for path in sorted((CONF / "audiences").glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        look(content)
        found |= set(content.get("export", {}).get("columns", [])) - {"user_id", "is_member"}
    assert read_folder(CONF / "audiences")
    assert found
    assert found - TAGS.keys() == {"is_member"}, "a fixed column of the profile"


def test_every_question_that_is_mapped_fills_a_tag_with_values_that_it_has() -> None:
    fields = SOURCES["surveys"].fields
    taken = {t.declared: t for t in TAGS.values() if t.declared}
    assert set(fields["attribute"].values.values()) == set(taken)
    mapped = set(fields["answer"].values.values())
    for attribute, _, options in QUESTIONS:
        values = [value for value, _ in options]
        assert set(values) <= mapped
        finite = taken[attribute].finite
        assert finite is None or set(values) <= set(finite), attribute
    every = {v for t in taken.values() for v in t.finite or ()} | {str(n) for n in range(1, 7)}
    assert mapped <= every


def test_what_the_simulator_notes_by_hand_are_values_of_tags() -> None:
    for tag, value, _ in NOTES:
        finite = TAGS[tag].finite
        assert finite is None or value in finite, (tag, value)
