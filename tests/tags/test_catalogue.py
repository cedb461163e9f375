"""The catalogue: what it refuses, in which words, and what it knows of what builds on what."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from features.catalogue import Catalogue, member_attributes, user_attributes, user_tables
from features.population import STATE_COLUMNS
from features.tags import Rule
from project.loading import load_catalogue
from schemas.errors import ConfigurationError, NotThereError

SHIPPED = sorted((Path(__file__).parents[2] / "conf" / "tags").glob("*.yaml"))
COMMON = """
defaults: {owner: crm, refresh: daily, version: 1, sources: [orders], kind: dynamic, method: rule}
facts:
  orders_9d: {from: [pay], measure: orders, agg: count, window: 9}
  last_buy: {from: [pay], measure: day, agg: last}
breaks:
  cuts: {of: orders_9d, where: orders_9d > 0, quantiles: [0.5]}
tags:
"""


def number(name: str, **more: str) -> str:
    """A whole-number tag as YAML; ``more`` replaces its keys."""
    keys = {"type": "int64", "unit": "orders", "values": "{min: 0}", "empty": "0", "expression": "orders_9d"}
    return entry(name, **{**keys, **more})


def text(name: str, **more: str) -> str:
    keys = {
        "type": "string",
        "values": "[a, b, none]",
        "empty": "none",
        "rules": '[{when: "orders_9d > 3", value: a}]',
        "else": "none",
    }
    return entry(name, **{**keys, **more})


def entry(name: str, **keys: str) -> str:
    common = {
        "name": "{zh: 名, en: Name}",
        "description": "{zh: 说明, en: What}",
        "path": "[消费特征, 消费能力和频次, 数]",
    }
    lines = [f"{k}: {v}" for k, v in {**common, **keys}.items() if v != "-"]
    return indent(f"- id: {name}\n" + indent("\n".join(lines), "  "), "  ")


def load(tmp_path: Path, *tags: str, common: str = COMMON) -> Catalogue:
    path = tmp_path / "tags.yaml"
    path.write_text(dedent(common) + "\n".join(tags) + "\n", encoding="utf-8")
    return load_catalogue([path])


def refusal(tmp_path: Path, *tags: str, common: str = COMMON) -> str:
    """The refusal without the folder's name."""
    with pytest.raises(ConfigurationError) as e:
        load(tmp_path, *tags, common=common)
    return str(e.value).replace(f"{tmp_path}/", "")


def line_of(tmp_path: Path, word: str, which: int = 0) -> int:
    lines = (tmp_path / "tags.yaml").read_text(encoding="utf-8").splitlines()
    return [i for i, line in enumerate(lines, start=1) if word in line][which]


@pytest.mark.parametrize(
    ("tags", "at", "message"),
    [
        ([number("a"), number("a")], "id: a", "tag 'a': id is taken by the tag at tags.yaml:9"),
        ([number("orders_9d")], "id: orders_9d", "tag 'orders_9d': id is taken by the fact at tags.yaml:4"),
        ([number("uid")], "id: uid", "tag 'uid': id is a fixed column of the profile; choose another"),
        (
            [number("a", expression="orders_8d")],
            "expression",
            "tag 'a': unknown column 'orders_8d'; did you mean 'orders_9d'?",
        ),
        ([number("a", expression="sum(orders_9d)")], "expression", "tag 'a': function 'sum' is not allowed; "),
        (
            [number("a", expression="orders_9d / 2")],
            "expression",
            "tag 'a': type int64 is declared, it gives float64; use round(), floor() or ceil()",
        ),
        ([number("a", unit="days")], "expression", "tag 'a': unit mismatch: 'days' is declared, it gives 'orders'"),
        (
            [number("a", expression="c"), number("b", expression="a"), number("c", expression="b")],
            "id: a",
            "tag 'a': depends on itself: a -> c -> b -> a",
        ),
        (
            [number("a", expression="breaks_below(orders_9d, 'cut')", unit="score")],
            "expression",
            "tag 'a': breaks_below: unknown break 'cut'; did you mean 'cuts'?",
        ),
        (
            [text("a", rules='[{when: "orders_9d > 5 and orders_9d < 3", value: a}]')],
            "when",
            "tag 'a': rule 1 can never match (orders_9d > 5 and orders_9d < 3): no value satisfies it",
        ),
        (
            [text("a", rules='[{when: "orders_9d > 3", value: a}, {when: "orders_9d > 4", value: b}]')],
            "when",
            "tag 'a': rule 2 can never match (orders_9d > 4): the rules before it take every case that it describes",
        ),
        (
            [text("a", rules='[{when: "orders_9d < 0", value: a}]')],
            "when",
            "tag 'a': rule 1 can never match (orders_9d < 0): no value satisfies it",
        ),
        (
            [text("a", rules='[{when: "orders_9d", value: a}]')],
            "when",
            "tag 'a': rule 1: gives int64; a condition is expected",
        ),
        (
            [text("a"), text("b", rules="[{when: \"a = 'x'\", value: a}]")],
            "a = 'x'",
            "tag 'b': rule 1: 'x' is not a value of 'a'; known are a, b, none",
        ),
        (
            [entry("a", type="string", values="[x, unknown]", empty="unknown", method="fact", attribute="gendr")],
            "attribute",
            "tag 'a': unknown attribute 'gendr'; did you mean 'gender'?",
        ),
        (
            [
                entry(
                    "a", type="string", values="{from: members.citty}", empty="unknown", method="fact", attribute="city"
                )
            ],
            "attribute",
            "tag 'a': values from 'members.citty': table silver.members has no column 'citty'",
        ),
        (
            [entry("a", type="string", values="[x, unknown]", empty="unknown", method="model", model="clusters")],
            "model:",
            "tag 'a': unknown model 'clusters'",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(tmp_path: Path, tags: list[str], at: str, message: str) -> None:
    found = refusal(tmp_path, *tags)
    which = -1 if "id is taken by the tag" in message else 0
    assert found.startswith(f"tags.yaml:{line_of(tmp_path, at, which)}: {message}")
    assert "\n" not in found


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (text("a", **{"else": "-"}), "tag 'a': rules without 'else': every user must get a value, name the last one"),
        (text("a", rules='[{when: "orders_9d > 3", value: c}]'), "tag 'a': value 'c' is not in the tag's values; "),
        (text("a", empty="unknown"), "tag 'a': empty: unknown, but 'unknown' is not in the tag's values"),
        (text("a", values="-"), "tag 'a': a text needs its list of values"),
        (text("a", unit="orders"), "tag 'a': type string has no unit"),
        (
            text("a", expression="'x'"),
            "tag 'a': exactly one of 'fact', 'attribute', 'expression', 'rules', 'layering' and 'model' is expected, "
            "expression, rules given",
        ),
        (text("a", method="fact"), "tag 'a': method 'fact' goes with fact or attribute or expression, not 'rules'"),
        (text("a", owner=""), "tag 'a': owner: "),
        (text("a", kind="hourly"), "tag 'a': kind: "),
        (text("a", sources="[orderz]"), "tag 'a': sources: unknown source table 'orderz'; did you mean 'orders'?"),
        (
            text("a", path="[消费特征, 消费能力, 数]"),
            "tag 'a': path: '消费特征' has no leaf group '消费能力'; did you mean '消费能力和频次'?",
        ),
        (
            text("a", scheme="true", kind="static"),
            "tag 'a': a segmentation (scheme: true) is a dynamic text tag with a list of values",
        ),
        (number("a", unit="-"), "tag 'a': a number needs a unit"),
        (number("a", values="-"), "tag 'a': a number needs values: a list, or bounds such as {min: 0}"),
        (number("a", empty="none"), "tag 'a': empty: 'none' is not of type int64, nor unknown or keep_last"),
        (number("a", wndow="3"), "tag 'a': unknown key 'wndow'; did you mean 'window'?"),
        (text("a", type="timestamp"), "tag 'a': type: Input should be 'string', 'int32'"),
        (number("a", scale="2"), "tag 'a': scale belongs to type float64, this is int64"),
        (number("a", log_bands="[3, 1]"), "tag 'a': log_bands ascend strictly"),
        (
            number("a", expression="-", method="fact", fact="{from: [pay], measure: orders, agg: count, window: 7}"),
            "tag 'a': window None is declared, but the fact's window is 7",
        ),
        (
            number("a", expression="-", method="fact", unit="days", fact="{from: [pay], measure: orders, agg: count}"),
            "tag 'a': unit mismatch: the tag says 'days', measure 'orders' gives 'orders'",
        ),
        (
            number("a", expression="-", method="fact", fact="{from: [pays], measure: orders, agg: count}"),
            "unknown behaviour 'pays'; did you mean 'pay'?",
        ),
        (number("A b"), "tag 'A b': id: "),
    ],
)
def test_an_entry_that_misses_or_contradicts_something_is_refused(tmp_path: Path, tag: str, message: str) -> None:
    found = refusal(tmp_path, tag)
    assert found.startswith("tags.yaml:")
    assert message in found.replace(".a.", ".")


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    found = refusal(tmp_path, "  - {id: a, kind: dynamic}", common="tags:\n")
    assert "tags.yaml:2: tag 'a': 'name' is missing" in found
    assert "tag 'a': 'owner' is missing" in found


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    found = refusal(tmp_path, number("a", expression="nothing"), number("b", expression="nobody"))
    assert len(found.splitlines()) == 2


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        ("{of: orders_9d, quantiles: [0.8, 0.2]}", "quantiles ascend strictly between 0 and 1"),
        ("{of: orders_9d}", "exactly one of 'quantiles', 'statistic', 'fixed' and 'estimate' is expected"),
        ("{of: last_buy, statistic: mean}", "break 'more': 'of' gives date; a number is expected"),
        (
            "{of: orders_9d, where: orders_9d, statistic: mean}",
            "break 'more': 'where' gives int64; a condition is expected",
        ),
        ("{of: level, statistic: mean}", "break 'more': depends on itself: break more -> level -> break more"),
    ],
)
def test_breaks_are_checked(tmp_path: Path, breaks: str, message: str) -> None:
    common = COMMON.replace("tags:\n", f"  more: {breaks}\ntags:\n")
    level = number("level", unit="orders", expression="case when orders_9d > statistic('more') then 1 else 0 end")
    assert message in refusal(tmp_path, level, common=common)


SCHEME = {"scheme": "true", "strategies": "{a: {zh: 做, en: Do}, b: {zh: 做, en: Do}, none: {zh: 做, en: Do}}"}


def test_a_segmentation_says_what_is_done_with_each_value(tmp_path: Path) -> None:
    assert load(tmp_path, text("a", **SCHEME)).tags["a"].strategies["b"].en == "Do"
    assert "tag 'a': a segmentation (scheme: true) needs a strategy for every value" in refusal(
        tmp_path, text("a", scheme="true", strategies="{a: {zh: 做, en: Do}}")
    )
    assert "there is none for b, none" in refusal(
        tmp_path, text("a", scheme="true", strategies="{a: {zh: 做, en: Do}}")
    )
    assert "needs: 'c' is none of the tag's values; " in refusal(tmp_path, text("a", needs="{c: {zh: 要, en: Want}}"))


def test_limits_are_the_tags_own_or_the_projects(tmp_path: Path) -> None:
    found = load(tmp_path, number("a", limits="{psi: null}"), number("b", limits="{coverage: 0.5}"), number("c")).tags
    assert [(t.limit("psi", 0.25), t.limit("coverage", 0.2)) for t in found.values()] == [
        (None, 0.2),
        (0.25, 0.5),
        (0.25, 0.2),
    ]


ESTIMATE = (
    "  churn: {estimate: silence_cut, share: 0.9, horizon_days: 365, min_cases: 100, default: [180], keep: true}\n"
)


def test_numbers_from_curves_are_there_before_facts_and_open_no_round(tmp_path: Path) -> None:
    common = COMMON.replace("breaks:\n", "breaks:\n" + ESTIMATE).replace(
        "breaks:", "  back: {from: [pay], measure: day, agg: returned, min_gap_of: churn}\nbreaks:", 1
    )
    silent = number("a", unit="days", expression="floor(number_at('churn', orders_9d) + statistic('churn'))")
    found = load(tmp_path, silent, number("b", unit="days", empty="unknown", expression="as_of - back"), common=common)
    assert set(found.estimates) == {"churn"}
    assert ("break", "churn") in found.needs[("fact", "back")]
    assert found.rounds[("tag", "a")] == found.rounds[("tag", "b")] == 0
    assert found.order.index(("break", "churn")) < found.order.index(("fact", "back"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("churm", "fact 'back': min_gap_of: unknown break 'churm'; did you mean 'churn'?"),
        ("cuts", "fact 'back': min_gap_of: break 'cuts' is made from facts, which would go round in a circle"),
    ],
)
def test_a_fact_waits_for_numbers_from_curves_only(tmp_path: Path, name: str, message: str) -> None:
    common = COMMON.replace("breaks:\n", "breaks:\n" + ESTIMATE)
    common = common.replace(
        "breaks:", f"  back: {{from: [pay], measure: day, agg: returned, min_gap_of: {name}}}\nbreaks:", 1
    )
    assert message in refusal(tmp_path, number("a"), common=common)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{estimate: silence_cut}", "an estimate needs a 'default'"),
        ("{estimate: silence_cut, of: orders_9d, default: [1]}", "an estimate comes from activity and has no 'of'"),
        ("{of: orders_9d, statistic: mean, share: 0.5}", "'share' belongs to an 'estimate'"),
        ("{statistic: mean}", "'of' is missing"),
        ("{estimate: knees, default: [1]}", "breaks.more.estimate: "),
    ],
)
def test_kinds_of_breaks_are_told_apart(tmp_path: Path, spec: str, message: str) -> None:
    common = COMMON.replace("tags:\n", f"  more: {spec}\ntags:\n")
    assert message in refusal(tmp_path, number("a"), common=common)


def test_the_shipped_catalogue_is_sound() -> None:
    catalogue = load_catalogue(SHIPPED)
    assert len(catalogue.tags) >= 45
    assert {t.kind for t in catalogue.tags.values()} == {"static", "semi_dynamic", "dynamic"}
    assert {t.method for t in catalogue.tags.values()} == {"fact", "rule", "model"}


def test_every_segmentation_of_the_spine_is_there() -> None:
    schemes = load_catalogue(SHIPPED).schemes
    wanted = {"rfm_segment", "rfm_value_segment", "aipl_stage", "lifecycle", "user_pyramid", "super_user", "quadrant"}
    assert wanted | {"spending_cluster"} <= set(schemes)


def test_every_value_of_a_segmentation_has_a_name_in_both_languages() -> None:
    for tag in load_catalogue(SHIPPED).tags.values():
        if tag.scheme and tag.model is None:
            assert set(tag.labels) == set(tag.finite or ()), tag.id
        for said in (tag.strategies, tag.needs, tag.resources):
            assert not said or set(said) == set(tag.finite or ()) - {"unknown"}, tag.id


def test_member_attributes_are_those_of_the_base_population() -> None:
    assert set(member_attributes()) == set(STATE_COLUMNS) - {"bucket", "uid", "user_id"}


def test_attributes_of_further_tables_stand_beside_those_of_members_under_names_of_their_own() -> None:
    tables = user_tables()
    assert {"fission.roles", "profile.offers"} <= set(tables)
    assert tables["profile.offers"]["next_category"] == ("string", None)
    assert "uid" not in tables["fission.roles"] and "bucket" not in tables["fission.roles"]
    columns = [name for found in (member_attributes(), *tables.values()) for name in found]
    assert len(columns) == len(set(columns)) == len(user_attributes())


def test_no_attribute_reaches_a_person() -> None:
    assert not {"phone", "email", "unionid", "openid", "member_id", "device_id"} & set(user_attributes())


def test_windows_look_through_everything_a_tag_builds_on(tmp_path: Path) -> None:
    catalogue = load(tmp_path, number("a"), number("b", expression="a + 1"), number("c", expression="coalesce(a, b)"))
    assert catalogue.windows == {"a": 9, "b": 9, "c": 9}
    assert len(catalogue.window_warnings(8)) == 3
    assert catalogue.window_warnings(8)[0].endswith("tag 'a': its window of 9 days is longer than the 8 days of data")
    assert catalogue.window_warnings(9) == []
    assert catalogue.window_summary(8)[0].startswith("3 tags look back 9 days, longer than the 8 days of data: a")
    assert catalogue.window_summary(9) == []


def test_frozen_numbers_open_rounds(tmp_path: Path) -> None:
    common = COMMON.replace("tags:\n", "  second: {of: a, statistic: mean}\ntags:\n")
    catalogue = load(
        tmp_path,
        number("a", unit="score", expression="breaks_below(orders_9d, 'cuts')"),
        number("b", unit="score", expression="floor(statistic('second'))"),
        common=common,
    )
    assert catalogue.rounds[("break", "cuts")] == 0
    assert catalogue.rounds[("tag", "a")] == 1
    assert catalogue.rounds[("break", "second")] == 1
    assert catalogue.rounds[("tag", "b")] == 2


def test_who_builds_on_a_tag_is_known() -> None:
    catalogue = load_catalogue(SHIPPED)
    assert "rfm_segment" in catalogue.users_of("purchase_days_365d")
    assert catalogue.users_of("rfm_segment") == []


def test_an_unknown_tag_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotThereError, match="did you mean 'lifecycle'"):
        load_catalogue(SHIPPED).tag("lifecicle")


def test_equal_catalogues_have_equal_versions(tmp_path: Path) -> None:
    first = load(tmp_path, number("a")).version
    assert load(tmp_path, number("a")).version == first
    assert load(tmp_path, number("a", expression="orders_9d + 1")).version != first


def test_a_rule_without_a_condition_is_told_of_else() -> None:
    with pytest.raises(ValueError, match=r"a rule needs a 'when'.*`else: none`"):
        Rule.model_validate({"value": "none"})
