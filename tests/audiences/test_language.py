"""What a definition may say, and what one is told who says it wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from audiences.compiler import compile_audience
from audiences.language import definition_hash, named, read, read_folder
from audiences.plan import Plan, walk
from audiences.wording import compared
from schemas.behaviours import BEHAVIOURS, BEHAVIOURS_ZH, BROWSE
from schemas.configuration import Words
from schemas.errors import ConfigurationError, NotThereError
from schemas.measures import MEASURES, WHERE_ZH, Where
from tests.audiences.shop import CATALOGUE, HEAD, write


def compiled(folder: Path, body: str, **others: str) -> Plan:
    for name, text in others.items():
        write(folder, name, text)
    audience = read(write(folder, "trial", body))
    return compile_audience(audience, read_folder(folder), CATALOGUE, currency="CNY")


def refused(folder: Path, body: str, **others: str) -> str:
    with pytest.raises(ConfigurationError) as e:
        compiled(folder, body, **others)
    return str(e.value)


def test_the_example_of_the_source_material_compiles_to_one_tag_and_three_facts(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        """\
include:
  all:
    - {tag: register_city, is: 北京}
    - {event: browse, measure: visits, within_days: 90, at_least: 3}
    - {event: pay}
    - {event: pay, did: false, within_days: 7, where: {brand: 资生堂}}
""",
    )
    assert plan.columns == ("register_city",)
    assert list(plan.facts.values()) == [
        {"from": list(BROWSE), "measure": "visits", "agg": "count", "window": 90},
        {"from": ["pay"], "measure": "rows", "agg": "count"},
        {"from": ["pay"], "measure": "rows", "agg": "count", "window": 7, "where": {"brand": ["资生堂"]}},
    ]


def test_a_plan_travels_as_json_and_comes_back_equal(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        """\
include:
  any:
    - {tag: last_purchase_day, between: [2026-01-01, 2026-02-01]}
    - not: {tag: mean_gap, above: 2.0}
    - {tag: is_follower, is: true}
exclude: {users: ["member:1"]}
""",
    )
    assert Plan.model_validate_json(plan.model_dump_json()) == plan


def test_equal_event_conditions_share_one_fact(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path, "include: {all: [{event: view, at_least: 3}, {event: [view], below: 9}, {event: view, did: false}]}\n"
    )
    assert len(plan.facts) == 1


def test_unknown_keys_name_the_line_and_the_nearest_key(tmp_path: Path) -> None:
    message = refused(tmp_path, "include:\n  all:\n    - tag: gender\n      iss: [male]\n")
    assert "trial.yaml:7: unknown key 'include.all.0.iss'; did you mean 'is'?" in message


def test_an_unknown_tag_suggests_the_nearest(tmp_path: Path) -> None:
    message = refused(tmp_path, "include: {tag: registr_city, is: 北京}\n")
    assert "trial.yaml:4: include.tag: no tag 'registr_city'; did you mean 'register_city'?" in message


def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        """\
include:
  any:
    - {tag: gander, is: male}
    - {tag: gender, is: mail}
    - {event: view, measure: visit}
export: {columns: [user_id, citty]}
""",
    )
    assert [line.split(": ")[0].rsplit(":", 1)[1] for line in message.splitlines()] == ["6", "7", "8", "9"]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{tag: gender, at_least: 3}", "'gender' is text; it can be compared with is and is_not, not with at_least"),
        ("{tag: gender, is: femal}", "never takes the value 'femal'; did you mean 'female'?"),
        ("{tag: gender, is: no}", "'gender' is text, given False; write it in quotes"),
        ("{tag: register_city, is: 2024}", "write it in quotes"),
        ("{tag: orders_ever, is: many}", "'orders_ever' is a number, given 'many'"),
        ("{tag: orders_ever, is: true}", "is a number, given True"),
        ("{tag: orders_ever, is: 1.5}", "is a whole number, given 1.5"),
        ("{tag: orders_ever, is: -1}", "takes values from 0, given -1"),
        ("{tag: orders_ever, below: 0}", "can never match: 'orders_ever' takes values from 0"),
        ("{tag: orders_ever, above: 3, below: 3}", "can never match"),
        ("{tag: orders_ever, between: [5, 2]}", "between goes from the smaller to the greater"),
        ("{tag: mean_gap, above: .nan}", "given: nan"),
        ("{tag: is_follower, is: 1}", "'is_follower' is true or false, given 1"),
        ("{tag: is_follower, above: 0}", "is true or false; it can be compared with is"),
        ("{tag: last_purchase_day, above: soon}", "is a date such as 2026-03-01, given 'soon'"),
        ("{tag: gender}", "is compared with nothing"),
        ("{event: buy}", "unknown behaviour 'buy'"),
        ("{event: view, measure: visitz}", "did you mean 'visits'?"),
        ("{event: view, measure: rows, agg: mean}", "measure 'rows' has no agg 'mean'; it has count"),
        ("{event: pay, measure: visits}", "visits are made of browse behaviours; pay is none of"),
        ("{event: view, measure: amount, at_least: 1}", "'view' carries no amount"),
        ("{event: pay, measure: amount}", "measure amount is compared with nothing"),
        ("{event: [pay, refund], measure: net_amount, at_least: 1}", "is defined of pay alone"),
        ("{event: pay, within_days: 0}", "greater than or equal to 1"),
        ("{event: pay, within_days: 7, days_ago: [1, 2]}", "within_days and days_ago both say the days; keep one"),
        ("{event: pay, days_ago: [9, 2]}", "days_ago goes from the smaller to the greater, given 9 and 2"),
        ("{event: pay, on_days: [2026-02-01, 2026-01-01]}", "on_days goes from the smaller to the greater"),
        ("{event: pay, days_ago: [-1, 2]}", "greater than or equal to 0"),
        ("{event: view, where: {brnd: x}}", "did you mean 'brand'?"),
        ("{event: review, where: {detail: positiv}}", "did you mean 'positive'?"),
        ("{event: view, at_least: -2, at_most: -1}", "can never match"),
        ("{event: view, within_days: 7, at_least: three}", "'times of view in 7 days' is a number, given 'three'"),
        ("{sequence: {first: {event: view}, within_days: 3}}", "say what follows: either then, or without"),
        ("{sequence: {first: {event: view}, then: {event: by}, within_days: 3}}", "unknown behaviour 'by'"),
        ("{sequence: {first: {event: view}, then: {event: pay, within_days: 3}, within_days: 3}}", "unknown key"),
        ("{sequence: {first: {event: view}, then: {event: pay}, within_days: -1}}", "greater than or equal to 0"),
        ("{sequence: {first: {event: view}, then: {event: pay}, within: 3}}", "did you mean 'within_days'?"),
        ("{all: []}", "the list is empty"),
        ("{users: []}", "the list is empty"),
        ("{tag: gender, is: []}", "the list is empty"),
        ("{event: pay, where: {brand: []}}", "the list is empty"),
        ("{event: pay, where: {brand: ''}}", "an empty name matches nobody"),
        ("{audience: other}", "no audience 'other'"),
        ("{colour: red}", "not a condition; it needs one of tag, event"),
        ("[{tag: gender, is: male}]", "not a condition"),
        ("{not: {colour: red}}", "not a condition"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(tmp_path: Path, condition: str, expected: str) -> None:
    message = refused(tmp_path, f"include: {condition}\n")
    assert expected in message
    assert "trial.yaml:4" in message


@pytest.mark.parametrize(
    ("tail", "expected"),
    [
        ("consent: ignore\n", "needs a consent_reason"),
        ("consent_reason: recall\n", "consent is not ignored"),
        ("export: {contacts: {fax: clear}}\n", "no contact 'fax'"),
        ("export: {contacts: {phone: sha512}}\n", "'clear', 'sha256' or 'md5'"),
        ("export: {columns: [user_id, user_id]}\n", "column 'user_id' stands twice"),
        ("export: {columns: []}\n", "the list is empty"),
        (
            "export: {columns: [phone]}\n",
            "'phone' is a contact, no tag; write `contacts: {phone: sha256}` beside columns",
        ),
        ("owner: me\n", "key 'owner' stands twice"),
    ],
)
def test_an_export_that_cannot_be_meant_is_refused(tmp_path: Path, tail: str, expected: str) -> None:
    assert expected in refused(tmp_path, "include: {tag: gender, is: male}\n" + tail)


def test_circles_are_refused_and_named(tmp_path: Path) -> None:
    message = refused(
        tmp_path,
        "include: {audience: second}\n",
        second="include: {not: {audience: third}}\n",
        third="include: {tag: gender, is: male}\nexclude: {audience: trial}\n",
    )
    assert "in a circle: trial -> second -> third -> trial" in message
    assert "third.yaml:5" in message


def test_an_audience_that_refers_to_itself_is_refused(tmp_path: Path) -> None:
    assert "in a circle: trial -> trial" in refused(tmp_path, "include: {audience: trial}\n")


def test_one_audience_may_be_named_twice(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        "include: {any: [{audience: men}, {not: {audience: men}}]}\n",
        men="include: {tag: gender, is: male}\n",
    )
    numbers = [node.number for _, node in walk(plan.root)]
    assert len(numbers) == len(set(numbers)) == 7


def test_conditions_nest_to_any_depth(tmp_path: Path) -> None:
    plan = compiled(tmp_path, "include: " + "{not: " * 60 + "{tag: gender, is: male}" + "}" * 60 + "\n")
    assert max(depth for depth, _ in walk(plan.root)) == 61


def test_the_hash_ignores_how_it_is_written_and_sees_what_it_refers_to(tmp_path: Path) -> None:
    def of(body: str, other: str) -> str:
        write(tmp_path, "other", other)
        trial = read(write(tmp_path, "trial", body))
        return definition_hash(trial, read_folder(tmp_path))

    short = of("include: {all: [{audience: other}, {tag: gender, is: male}]}\n", "include: {event: pay}\n")
    long = "include:\n  all:\n    - audience: other\n    - {is: [male], tag: gender}\n"
    assert of(long, "include: {event: [pay]}\n") == short
    assert of(long, "include: {event: view}\n") != short


def test_the_hash_of_a_definition_is_the_one_that_lakes_hold(tmp_path: Path) -> None:
    trial = read(write(tmp_path, "trial", "include: {event: pay, within_days: 7, where: {brand: 资生堂}}\n"))
    assert definition_hash(trial, {}) == "1247268fa5df43268ae98997d21f488e5f4d29e8e2a806072171d96c7acf5b4e"


def test_a_file_name_must_be_an_id(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="small letters"):
        read(write(tmp_path, "North-China", "include: {tag: gender, is: male}\n"))


def test_the_mistakes_of_all_files_are_reported_together(tmp_path: Path) -> None:
    write(tmp_path, "one", "includes: {}\n")
    (tmp_path / "two.yaml").write_text(HEAD.replace("owner: crm", "owner: ''") + "include: {event: pay}\n")
    with pytest.raises(ConfigurationError) as e:
        read_folder(tmp_path)
    assert "one.yaml:4: unknown key 'includes'; did you mean 'include'?" in str(e.value)
    assert "two.yaml:3: owner" in str(e.value)


def test_an_unknown_audience_suggests_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "lapsed", "include: {event: pay}\n")
    with pytest.raises(NotThereError, match="did you mean 'lapsed'"):
        named(read_folder(tmp_path), "lapse")


def test_every_behaviour_measure_and_condition_has_words() -> None:
    assert set(BEHAVIOURS_ZH) == set(BEHAVIOURS)
    assert [m for m, s in MEASURES.items() if not (s.zh and s.en)] == []
    assert set(WHERE_ZH) == set(Where.model_fields)


def test_conditions_are_said_in_both_languages(tmp_path: Path) -> None:
    plan = compiled(
        tmp_path,
        """\
include:
  all:
    - {event: pay, did: false, within_days: 7, where: {brand: 资生堂}}
    - {event: pay, measure: amount, at_least: 50000}
    - {tag: orders_ever, above: 1, below: 9}
    - {event: view, on_days: [2026-01-01, 2026-01-31]}
    - {event: view, days_ago: [7, 30]}
    - {sequence: {first: {event: cart, within_days: 30}, without: {event: pay}, within_days: 3}}
    - {sequence: {first: {event: view, where: {brand: 资生堂}}, then: {event: [cart, pay]}, within_days: 0}}
""",
    )
    assert [(n.text.zh, n.text.en) for _, n in walk(plan.root)][2:] == [
        ("非：近 7 天支付次数（品牌 资生堂） ≥ 1", "not: times of pay in 7 days (brand 资生堂) at least 1"),
        ("历来支付金额 ≥ 500.00 CNY", "money of pay ever at least 500.00 CNY"),
        ("orders_ever > 1 且 < 9", "orders_ever above 1 and below 9"),
        ("2026-01-01 至 2026-01-31 浏览次数 ≥ 1", "times of view from 2026-01-01 to 2026-01-31 at least 1"),
        ("7 至 30 天前浏览次数 ≥ 1", "times of view 7 to 30 days ago at least 1"),
        ("近 30 天加购后 3 天内未支付", "cart in 30 days, then no pay within 3 days"),
        ("历来浏览（品牌 资生堂）后 当天加购、支付", "view ever (brand 资生堂), then cart or pay on that day"),
    ]


def test_values_are_called_by_their_labels_in_chinese(tmp_path: Path) -> None:
    labels = {"female": Words(zh="女", en="Women"), "male": Words(zh="男", en="Men")}
    labelled = {**CATALOGUE, "gender": replace(CATALOGUE["gender"], labels=labels)}

    def plan(values: str) -> Plan:
        audience = read(write(tmp_path, "trial", f"include: {{tag: gender, is: [{values}]}}\n"))
        return compile_audience(audience, {}, labelled, currency="CNY")

    gender = CATALOGUE["gender"].name.zh
    said = compared(Words(zh="性别", en="Gender"), plan("female, unknown").root.include.tests, None, "CNY", labels)  # type: ignore[union-attr]
    assert (said.zh, said.en) == ("性别为女或unknown", "Gender is female/unknown")
    assert plan("male").root.include.text.zh in (f"{gender}为男", f"{gender} 为男")
    with pytest.raises(ConfigurationError, match="never takes the value '女'; that is what 'female' is called"):
        plan("女")


@pytest.mark.parametrize(("currency", "text"), [("CNY", "12,345.67"), ("JPY", "1,234,567"), ("KWD", "1,234.567")])
def test_money_in_words_has_the_digits_of_its_currency(tmp_path: Path, currency: str, text: str) -> None:
    audience = read(write(tmp_path, "trial", "include: {tag: paid_amount_90d, at_least: 1234567}\n"))
    plan = compile_audience(audience, read_folder(tmp_path), CATALOGUE, currency=currency)
    assert any(n.text.en.endswith(f"at least {text} {currency}") for _, n in walk(plan.root))
