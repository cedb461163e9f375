"""Conditions that need more than a person's own row: what they say, refuse, and are told of."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from audiences.compiler import MOST_DEEP
from audiences.language import definition_hash
from audiences.plan import Plan
from jobs.audiences.step import build, list_audiences, why
from lake.releases import write_release
from project.audience import plan_of
from project.check import audience_uses
from project.held import tags_of
from queries.preview import preview
from schemas.errors import ConfigurationError, NotThereError
from tests.audiences.lake_shop import D, Shop, act, beijing_shop, people
from tests.audiences.shop import HEAD

STAGE = """\
  - id: stage
    name: {zh: 阶段, en: Stage}
    description: {zh: 阶段, en: Stage}
    path: [消费特征, 消费能力和频次, 阶段]
    type: string
    values: [new, loyal, unknown]
    labels: {loyal: {zh: 忠诚, en: Loyal}}
    attribute: city
  - id: silence
    name: {zh: 沉默, en: Silence}
    description: {zh: 沉默, en: Silence}
    path: [消费特征, 消费能力和频次, 沉默]
    type: int64
    unit: days
    values: {min: 0}
    log_bands: [7, 30]
    fact: {from: [pay], measure: days, agg: count}
  - id: birth_city
    name: {zh: 出生地, en: Birth city}
    description: {zh: 出生地, en: Birth city}
    path: [基本信息, 人口信息, 出生地]
    kind: static
    type: string
    values: {from: members.city}
    attribute: city
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight, with a change of stage of 1, 2 brought by 1, 3 by 2 and 4 by 3."""
    shop = beijing_shop(tmp_path_factory.mktemp("template") / "shop")
    tags = shop.folder / "tags" / "all.yaml"
    tags.write_text(tags.read_text(encoding="utf-8") + STAGE, encoding="utf-8")
    shop.lake.ensure("profile.profile", shop.project.catalogue.columns)
    first = D - timedelta(days=30)
    shop.put(
        "profile.tag_changes",
        [
            {"uid": 1, "tag": "stage", "from_day": first, "value": "new"},
            {"uid": 1, "tag": "stage", "from_day": D - timedelta(days=6), "value": "loyal"},
            {"uid": 2, "tag": "stage", "from_day": D - timedelta(days=6), "value": "loyal"},
            {"uid": 3, "tag": "stage", "from_day": first, "value": "loyal"},
            {"uid": 3, "tag": "stage", "from_day": D, "value": None},
        ],
    )
    shop.put("fission.share_edges", [{"as_of": D, "uid": u, "parent_uid": u - 1} for u in (2, 3, 4)])
    shop.release(D, people(), number=2)
    write_release(shop.lake, D, "all", shop.lake.versions())
    return shop.folder


def members(shop: Shop, include: str) -> list[int]:
    """Those of a preview; that a build has the same is held by random definitions (test_preview.py)."""
    shop.define("trial", f"{HEAD}include: {include}\n")
    return sorted(int(row["user_id"][1:]) for row in preview(shop.project, "trial", sample=100).sample)


def notes(shop: Shop) -> str:
    return " | ".join(preview(shop.project, "trial").warnings)


def refused(shop: Shop, include: str) -> str:
    shop.define("trial", f"{HEAD}include: {include}\n")
    with pytest.raises(ConfigurationError) as e:
        plan_of(shop.project, "trial")
    return str(e.value)


def said(shop: Shop, include: str) -> tuple[str, str]:
    shop.define("trial", f"{HEAD}include: {include}\n")
    text = plan_of(shop.project, "trial")[1].root.include.text
    return text.zh, text.en


# --- sets of audiences ---


def test_audiences_are_joined_met_and_taken_from_one_another(shop: Shop) -> None:
    shop.define("a", HEAD + "include: {users: [m000001, m000002, m000003]}\n")
    shop.define("b", HEAD + "include: {users: [m000003, m000004]}\n")
    assert members(shop, "{any: [{audience: a}, {audience: b}]}") == [1, 2, 3, 4]
    assert members(shop, "{all: [{audience: a}, {audience: b}]}") == [3]
    assert members(shop, "{all: [{audience: a}, {not: {audience: b}}]}") == [1, 2]
    assert members(shop, "{audience: a}\nexclude: {audience: b}") == [1, 2]
    assert len(members(shop, "{not: {any: [{audience: a}, {audience: b}]}}")) == 4


def test_who_brought_paying_users_is_asked_of_events(shop: Shop) -> None:
    brought = [act(u, D, "brought_order", peer_uid=peer, order_key=9) for u, peer in ((1, 2), (1, 3), (2, 1), (2, 1))]
    shop.activity(brought)
    write_release(shop.lake, D, "brought", shop.lake.versions())
    assert members(shop, "{event: brought_order, measure: peer, at_least: 1}") == [1, 2]
    assert members(shop, "{event: brought_order, measure: peer, at_least: 2, within_days: 30}") == [1]


# --- changes of tags ---


def test_a_change_has_a_value_before_it_and_lies_in_its_days(shop: Shop) -> None:
    assert members(shop, "{changed: {tag: stage, from: new, to: loyal}}") == [1]
    assert members(shop, "{changed: {tag: stage, to: loyal}}") == [1], "2 became known, 3 always was"
    assert members(shop, "{changed: {tag: stage}}") == [1, 3]
    assert members(shop, "{changed: {tag: stage, from: loyal, to: unknown}}") == [3]
    assert members(shop, "{changed: {tag: stage, within_days: 6}}") == [3]
    assert members(shop, "{changed: {tag: stage, within_days: 7}}") == [1, 3]


def test_why_says_whose_tag_changed(shop: Shop) -> None:
    shop.define("trial", HEAD + "include: {changed: {tag: stage, from: new, to: loyal, within_days: 9}}\n")
    (_, finding) = why(shop.project, "trial", 1).findings
    assert (finding.value, finding.truth, finding.decided) == (True, "true", True)
    assert (finding.zh, finding.en) == ("近 9 天阶段从new变为忠诚", "Stage changed from new to loyal in 9 days")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("{changed: {tag: stag}}", "include.changed.tag: no tag 'stag'; did you mean 'stage'?"),
        ("{changed: {tag: birth_city}}", "'birth_city' is no dynamic tag, so its changes are not kept"),
        ("{changed: {tag: stage, to: loyl}}", "include.changed.to: 'stage' never takes the value 'loyl'; did you mean 'loyal'?"),
        ("{changed: {tag: silence, from: 8}}", "its process is kept by band: <7, 7..29, >=30"),
        ("{changed: {tag: stage, too: loyal}}", "did you mean 'to'?"),
        ("{top: {by: paid, people: 3}}", "include.top.by: no tag 'paid'"),
        ("{top: {by: gender, people: 3}}", "'gender' is text; the highest are found by a number or a date"),
        ("{top: {by: paid_amount_90d}}", "say how many: either people or share"),
        ("{top: {by: paid_amount_90d, people: 3, share: .1}}", "say how many: either people or share"),
        ("{top: {by: paid_amount_90d, share: 1.5}}", "less than or equal to 1"),
        ("{top: {by: paid_amount_90d, people: 3, among: {tag: gendr, is: male}}}", "include.top.among.tag: no tag 'gendr'"),
        ("{sample: {people: 3}}", "seed"),
        ("{share_tree: {below: m1, levels: 0}}", "greater than or equal to 1"),
        ("{ids: {file: lists/x.csv, kind: fax}}", "unknown kind of id 'fax'"),
        ("{ids: {file: lists/buyer.csv, kind: phone}}", "there is no file 'lists/buyer.csv' in the project folder; did you mean 'lists/buyers.csv'?"),
        ("{ids: {file: ../x.csv, kind: phone}}", "'../x.csv' is not inside the project folder"),
        ("{ids: {file: /etc/passwd, kind: phone}}", "'/etc/passwd' is not inside the project folder"),
        ("{ids: {file: lists/out.csv, kind: phone}}", "'lists/out.csv' is not inside the project folder"),
        ("{audience: beijin, as_of: 2026-03-01}", "no audience 'beijin'; did you mean 'beijing'?"),
    ],
)  # fmt: skip
def test_a_listing_that_cannot_be_meant_is_refused_with_its_line(shop: Shop, condition: str, expected: str) -> None:
    (shop.folder / "lists").mkdir()
    (shop.folder / "lists" / "buyers.csv").write_text("1\n")
    (shop.folder.parent / "out.csv").write_text("1\n")
    (shop.folder / "lists" / "out.csv").symlink_to(shop.folder.parent / "out.csv")
    message = refused(shop, condition)
    assert expected in message
    assert "trial.yaml:4: " in message


# --- lists of ids ---


def listed(shop: Shop, text: str) -> None:
    (shop.folder / "lists").mkdir(exist_ok=True)
    (shop.folder / "lists" / "x.csv").write_text(text, encoding="utf-8")


def test_ids_are_read_as_ingest_reads_them_and_those_of_nobody_are_counted_masked(shop: Shop) -> None:
    listed(shop, 'id\nM1\n M2 \n="M3"\n \nM1\nM-stranger-7\n')
    assert members(shop, "{ids: {file: lists/x.csv, kind: member_id}}") == [1, 2, 3]
    assert build(shop.project, "trial").warnings == preview(shop.project, "trial").warnings
    assert notes(shop) == (
        "lists/x.csv: 4 different ids (member_id) are of 3 people; of nobody here: 1, such as M-s*******-7; "
        "lines without an id: 1; repeated: 1"
    )


def test_a_column_is_named_by_its_head(shop: Shop) -> None:
    listed(shop, "name,user\nx,m000002\ny,m000004\n")
    assert members(shop, "{ids: {file: lists/x.csv, kind: user_id, column: user}}") == [2, 4]
    shop.define("trial", HEAD + "include: {ids: {file: lists/x.csv, kind: user_id, column: usr}}\n")
    with pytest.raises(ConfigurationError, match=r"x\.csv:1: no column 'usr'; did you mean 'user'"):
        preview(shop.project, "trial")


def test_a_list_that_is_no_utf8_is_refused(shop: Shop) -> None:
    listed(shop, "")
    (shop.folder / "lists" / "x.csv").write_bytes("会员".encode("gb18030"))
    shop.define("trial", HEAD + "include: {ids: {file: lists/x.csv, kind: user_id}}\n")
    with pytest.raises(ConfigurationError, match="save the list as UTF-8"):
        preview(shop.project, "trial")


def test_a_list_that_changed_is_another_definition(shop: Shop) -> None:
    listed(shop, "m000001\n")
    shop.define("trial", HEAD + "include: {ids: {file: lists/x.csv, kind: user_id}}\n")
    assert build(shop.project, "trial").users == 1
    assert next(a for a in list_audiences(shop.project) if a.audience == "trial").is_current
    listed(shop, "m000001\nm000002\n")
    assert not next(a for a in list_audiences(shop.project) if a.audience == "trial").is_current
    again = build(shop.project, "trial")
    assert (again.users, again.already_built) == (2, False)
    trial = shop.project.audiences["trial"]
    before = dict(trial.content)
    assert definition_hash(trial, {}) == again.definition_hash and trial.content == before


# --- the first, a sample, a tree, another day ---


def test_the_first_of_a_group_are_ranked_without_those_of_whom_the_group_is_unknown(shop: Shop) -> None:
    assert members(shop, "{top: {by: paid_amount_90d, people: 2}}") == [6, 7]
    assert members(shop, "{top: {by: paid_amount_90d, people: 1, within: register_city}}") == [4, 6]
    assert members(shop, "{top: {by: paid_amount_90d, share: .2, order: lowest}}") == [1, 100_001], (
        "two are the least share"
    )


def test_equal_values_are_told_apart_by_user_id_and_it_is_said(shop: Shop) -> None:
    assert members(shop, "{top: {by: paid_amount_90d, people: 1, order: lowest}}") == [1]
    assert notes(shop) == (
        "top by paid_amount_90d: 1 have the same value as the last who is among them and are left out by user_id"
    )


def test_people_are_chosen_among_those_of_another_condition(shop: Shop) -> None:
    beijing = "{tag: register_city, is: 北京}"
    assert members(shop, f"{{top: {{by: paid_amount_90d, people: 2, among: {beijing}}}}}") == [5, 6]
    assert len(members(shop, f"{{sample: {{people: 2, seed: a, among: {beijing}}}}}")) == 2
    assert members(shop, f"{{sample: {{share: 1, seed: a, among: {{not: {beijing}}}}}}}") == [4], (
        "of 7 no city is known"
    )
    assert said(shop, f"{{top: {{by: paid_amount_90d, people: 2, within: gender, among: {{all: [{beijing}, {{event: pay}}]}}}}}}") == (
        "在「（注册城市为北京且历来支付次数 ≥ 1）」之内每个性别中近90天消费最高的 2 人",
        "the 2 people with the highest Paid in 90 days within each Gender among those of whom holds: "
        "(Registration city is 北京 and times of pay ever at least 1)",
    )  # fmt: skip


def test_a_sample_stays_as_it_is_and_another_seed_is_another_sample(shop: Shop) -> None:
    found = {seed: tuple(members(shop, f"{{sample: {{people: 4, seed: {seed}}}}}")) for seed in ("a", "b", "c")}
    assert len(set(found.values())) > 1
    less = members(shop, "{sample: {people: 2, seed: a}}")
    assert set(less) < set(found["a"])


def test_below_somebody_are_whom_they_brought_and_whom_these_brought(shop: Shop) -> None:
    assert members(shop, "{share_tree: {below: m000001}}") == [2, 3, 4]
    assert members(shop, "{share_tree: {below: m000001, levels: 2}}") == [2, 3]
    assert members(shop, "{share_tree: {below: m000009}}") == []
    assert notes(shop) == "share_tree: no user 'm000009' at 2026-03-10"


def test_a_release_without_the_share_tree_says_what_to_do(shop: Shop) -> None:
    shop.release(D, people(), number=3)
    shop.define("trial", HEAD + "include: {share_tree: {below: m000001}}\n")
    with pytest.raises(NotThereError, match=r"fission\.share_edges is not in release 4 .* run that day again"):
        preview(shop.project, "trial")


def test_who_was_in_an_audience_on_a_day_is_read_from_its_log(shop: Shop) -> None:
    assert build(shop.project, "beijing").users == 3
    day = D + timedelta(days=2)
    assert members(shop, f"{{audience: beijing, as_of: {day}}}") == [1, 2, 100_001]
    assert notes(shop) == f"audience beijing on {day}: as its log had it on {D}"
    shop.define("trial", f"{HEAD}include: {{audience: beijing, as_of: {D - timedelta(days=1)}}}\n")
    with pytest.raises(NotThereError, match=r"audience 'beijing' was not built by 2026-03-09; .*audience list"):
        build(shop.project, "trial")


# --- what is made of tags, and limits ---


def test_tags_that_a_listing_reads_count_as_read(shop: Shop) -> None:
    shop.define(
        "trial", HEAD + "include: {top: {by: silence, people: 2, within: stage, among: {tag: gender, is: male}}}\n"
    )
    audience, plan = plan_of(shop.project, "trial")
    assert {"silence", "stage", "gender"} <= tags_of(shop.project.catalogue, audience, plan)
    places = {
        tag: [use.place.rsplit("/")[-1] for use in audience_uses(shop.project, tag)] for tag in ("silence", "stage")
    }
    assert places == {"silence": ["trial.yaml:4"], "stage": ["trial.yaml:4"]}


def test_audiences_of_audiences_end_before_they_fill_the_memory(shop: Shop) -> None:
    shop.define("n0", HEAD + "include: {event: pay}\n")
    for i in range(1, 30):
        shop.define(f"n{i}", f"{HEAD}include: {{any: [{{audience: n{i - 1}}}, {{audience: n{i - 1}}}]}}\n")
    with pytest.raises(ConfigurationError, match=r"n29\.yaml: more than 5,000 conditions, those of the audiences that"):
        plan_of(shop.project, "n29")


def test_audiences_in_a_long_chain_are_refused_and_the_deepest_plan_travels(shop: Shop) -> None:
    shop.define("n0", HEAD + "include: {event: pay}\n")
    for i in range(1, MOST_DEEP + 1):
        shop.define(f"n{i}", f"{HEAD}include: {{audience: n{i - 1}}}\n")
    with pytest.raises(
        ConfigurationError, match=f"n0.yaml:4: include: conditions are nested more than {MOST_DEEP} deep"
    ):
        plan_of(shop.project, f"n{MOST_DEEP}")
    deepest = plan_of(shop.project, f"n{MOST_DEEP - 1}")[1]
    assert Plan.model_validate(deepest.model_dump(mode="json")) == deepest
    assert build(shop.project, f"n{MOST_DEEP - 1}").users == build(shop.project, "n0").users
