"""docs/tags.md and docs/sources.md name every word that the code takes, and the code takes their examples."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from sqlglot import exp

from audiences.contacts import SHAPES
from audiences.platforms import (
    HEADER_WORDS,
    VALUE_WORDS,
    WORDS,
    HttpPlace,
    Platform,
    PlatformColumn,
    PlatformLimits,
    SftpPlace,
)
from features.allow_list import FUNCTIONS, MAX_DEPTH, NODES
from features.catalogue import RESERVED
from features.expressions import MAX_CHARACTERS
from features.facts import DEFAULT_HALF_LIFE_DAYS, DEFAULT_WEIGHTS, Fact
from features.frozen_numbers import Break, Model
from features.layering import Input, Layering
from features.own_functions import CALLS
from features.sources import HASHED, TIME_WORDS, Condition, FieldRule, Mapping
from features.tags import _COMMON, PATHS, WAYS, Limits, Rule, Tag, TagFile
from features.text_forms import ABSENT_VALUES, NO, YES
from project.loading import load_catalogue, load_mappings
from schemas.measures import KEY_COLUMNS, MAX_WINDOW_DAYS, MEASURES, Where
from schemas.tag_roles import TagRole

DOCS = Path(__file__).parents[2] / "docs"
KEYS = "keys"
"""What the table of measures says for the aggregates that all keys have."""
NO_TAG_IS = "timestamp"
OPERATORS: dict[type[exp.Expr], str] = {
    exp.Not: "not",
    exp.And: "and",
    exp.Or: "or",
    exp.Paren: "( )",
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.In: "in",
    exp.Between: "between",
    exp.Is: "is null",
    exp.Case: "case when C then V else W end",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Neg: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Literal: "'text'",
    exp.Boolean: "true",
    exp.Null: "null",
    exp.Cast: "date '2026-03-01'",
    exp.Column: "as_of",
}
CALLED = {exp.Anonymous, exp.Coalesce, exp.Least, exp.Greatest, exp.Nullif, exp.Abs, exp.Floor, exp.Ceil, exp.Round}
CALLED |= {exp.Ln, exp.Concat, exp.Year, exp.Month}


@cache
def page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text(encoding="utf-8")


@cache
def section(name: str, heading: str) -> str:
    """The text under a heading, down to the next of its level or above."""
    text = without_blocks(page(name))
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"docs/{name}.md has no heading {heading!r}"
    return re.split(rf"^#{{1,{len(found[1])}}} ", text[found.end() :], flags=re.MULTILINE)[0]


def without_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", without_blocks(text))


def words(text: str) -> set[str]:
    """Every name that stands in code marks."""
    return {w for s in spans(text) for w in re.findall(r"[A-Za-z_][\w-]*", s)}


def tables(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and rows of every table, down to the next heading below."""
    own = re.split(r"^#+ ", without_blocks(text), flags=re.MULTILINE)[0]
    for block in re.findall(r"(?:^\|.*\n?)+", own, re.MULTILINE):
        lines = [[c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.strip().splitlines()]
        yield lines[0], lines[2:]


def first_cells(name: str, heading: str, *of: str) -> list[str]:
    """The words in the first cells of a section's tables, of those whose header begins with a word of ``of``."""
    return [
        word
        for header, rows in tables(section(name, heading))
        if not of or header[0].replace("`", "") in of
        for row in rows
        for word in spans(row[0])
    ]


def keys_of(model: type[BaseModel]) -> set[str]:
    return {info.alias or name for name, info in model.model_fields.items()}


def choices(annotation: Any) -> set[str]:
    """The words of every ``Literal`` in an annotation."""
    if get_origin(annotation) is Literal:
        return {str(a) for a in get_args(annotation)}
    return {word for a in get_args(annotation) for word in choices(a)}


def listed_once(found: list[str], wanted: set[str]) -> None:
    assert sorted(found) == sorted(wanted)


# --- tags ---


@pytest.mark.parametrize(
    ("heading", "model"),
    [("A file", TagFile), ("A tag", Tag), ("Breaks", Break), ("Models", Model), ("Layering", Layering)],
)
def test_every_key_of_a_tag_file_has_its_row(heading: str, model: type[BaseModel]) -> None:
    listed_once(first_cells("tags", heading, "Key"), keys_of(model))


def test_keys_within_keys_are_named() -> None:
    assert keys_of(Fact) - {"id"} <= words(section("tags", "Facts"))
    assert keys_of(Input) <= words(section("tags", "Layering"))
    assert keys_of(Rule) | keys_of(Limits) | set(WAYS) <= words(section("tags", "A tag"))
    assert set(_COMMON) <= words(section("tags", "A file"))
    assert {*RESERVED, "is_member"} <= words(section("tags", "A tag"))


@pytest.mark.parametrize("model", [Tag, Fact, Break, Model, Layering, Input])
def test_every_choice_of_a_key_is_named(model: type[BaseModel]) -> None:
    wanted = {word for info in model.model_fields.values() for word in choices(info.annotation)}
    assert wanted - {NO_TAG_IS} <= words(page("tags"))


def test_every_group_of_a_path_is_named() -> None:
    said = section("tags", "A tag")
    assert [
        f"{g} ({', '.join(leaves)})" for g, leaves in PATHS.items() if f"{g} ({', '.join(leaves)})" not in said
    ] == []


def test_every_aggregate_and_condition_has_its_row() -> None:
    listed_once(first_cells("tags", "Measures", "agg"), {a for m in MEASURES.values() for a in m.aggs})
    listed_once(first_cells("tags", "Measures", "where"), keys_of(Where))


def test_the_table_of_measures_says_aggregates_and_units() -> None:
    said: dict[str, tuple[tuple[str, ...], str | None]] = {}
    keys = {MEASURES[m].aggs for m in KEY_COLUMNS}
    assert len(keys) == 1
    for header, rows in tables(section("tags", "Measures")):
        for name, _, aggs, unit in (r for r in rows if header[0] == "`measure`"):
            for measure in spans(name):
                said[measure] = (
                    next(iter(keys)) if aggs == KEYS else tuple(spans(aggs)),
                    spans(unit)[0] if spans(unit) else None,
                )
    assert said == {m: (s.aggs, s.unit) for m, s in MEASURES.items()}
    assert set(next(iter(keys))) <= words(section("tags", "Measures"))


def test_numbers_on_the_page_are_those_of_the_code() -> None:
    facts, expressions = section("tags", "Facts"), section("tags", "Expressions")
    assert f"1 to {MAX_WINDOW_DAYS}; left out: ever" in facts
    assert f"`half_life_days` ({DEFAULT_HALF_LIFE_DAYS:g})" in facts
    assert "view and search 1, favourite 3, cart and share 4, pay 5" in facts
    assert DEFAULT_WEIGHTS == {"view": 1, "search": 1, "favourite": 3, "cart": 4, "share": 4, "pay": 5}
    assert f"{MAX_CHARACTERS} characters, {MAX_DEPTH} levels" in expressions


def test_every_function_and_operator_of_expressions_is_named() -> None:
    said = section("tags", "Expressions")
    called = {m[1] for s in spans(said) if (m := re.match(r"(\w+)\(", s))}
    assert called == {*FUNCTIONS, *CALLS}
    assert set(NODES) == {*OPERATORS, *CALLED}, "a new node needs its word here and on the page"
    assert [w for w in OPERATORS.values() if w not in spans(said)] == []


# --- sources ---


def test_every_role_is_listed() -> None:
    rows = [row[1] for _, rows in tables(section("tags", "Roles")) for row in rows]
    listed_once([w for cell in rows for w in spans(cell)], {str(role) for role in TagRole})


@pytest.mark.parametrize(
    ("heading", "header", "wanted"),
    [
        ("A mapping", "Key", keys_of(Mapping) - {"name"}),
        ("A rule of a field", "Key", keys_of(FieldRule)),
        ("A rule of a field", "Condition of where", keys_of(Condition) - {"column"}),
    ],
)
def test_every_key_of_a_mapping_has_its_row(heading: str, header: str, wanted: set[str]) -> None:
    listed_once(first_cells("sources", heading, header), wanted)


def test_every_form_of_time_and_every_choice_is_named() -> None:
    assert set(TIME_WORDS) <= set(first_cells("sources", "A rule of a field", "time"))
    for model in (Mapping, FieldRule):
        for info in model.model_fields.values():
            assert choices(info.annotation) - {".", ","} <= words(page("sources"))
    assert set(HASHED) <= words(section("sources", "A rule of a field"))


@pytest.mark.parametrize("word", ["utf8", "UTF-8-SIG", "gbk", "gb2312", "gb18030", "utf-8"])
def test_an_encoding_that_the_page_names_is_understood(word: str) -> None:
    assert word.lower() in words(section("sources", "A mapping"))
    Mapping.model_validate(
        {"feed": "products", "files": "p/*", "format": "csv", "encoding": word, "fields": {"sku_id": "s"}}
    )


def test_words_for_yes_no_and_nothing_are_named() -> None:
    said = section("sources", "How text is read")
    assert [w for w in (*YES, *NO) if w not in said] == []
    assert [w for w in ABSENT_VALUES if f"`{w}`" not in said.lower() and w] == []


# --- examples ---


def blocks(name: str) -> list[str]:
    found = re.findall(r"^```yaml\n(.*?)^```$", page(name), re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_every_example_of_the_page_of_tags_is_accepted(tmp_path: Path) -> None:
    paths = []
    for i, block in enumerate(blocks("tags")):
        paths.append(tmp_path / f"{i}.yaml")
        paths[-1].write_text(block, encoding="utf-8")
    assert load_catalogue(paths).tags


def test_every_example_of_the_page_of_sources_is_accepted(tmp_path: Path) -> None:
    paths = []
    for i, block in enumerate(blocks("sources")):
        paths.append(tmp_path / f"{i}.yaml")
        paths[-1].write_text(block, encoding="utf-8")
    assert len(load_mappings(paths)) == len(paths)


# --- platforms ---


@pytest.mark.parametrize(
    ("table", "model"),
    [
        ("Key", Platform),
        ("Key of a column", PlatformColumn),
        ("Key of http", HttpPlace),
        ("Key of sftp (extra [sftp])", SftpPlace),
    ],
)
def test_every_key_of_a_platform_has_its_row(table: str, model: type[BaseModel]) -> None:
    listed_once(first_cells("audiences", "Platforms", table), keys_of(model))


def test_every_word_of_a_platform_is_on_the_page() -> None:
    text = words(section("audiences", "Platforms"))
    asked = (
        {s for shapes in SHAPES.values() for s in shapes}
        | {*WORDS, *VALUE_WORDS, *HEADER_WORDS}
        | keys_of(PlatformLimits)
    )
    for model in (Platform, PlatformColumn):
        asked |= {word for info in model.model_fields.values() for word in choices(info.annotation)}
    assert asked - text == set()
