"""Mappings are validated when they are loaded: file, line, what is wrong, the nearest that is known."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from project.loading import load_mappings
from schemas.contracts import FEEDS, contract
from schemas.errors import ConfigurationError

CONF = Path(__file__).parents[2] / "conf"
GOOD = """\
feed: orders
files: orders/*.csv
format: csv
fields:
  order_id: 订单号
  ordered_at: {column: 下单时间, time: auto}
  paid_at: 付款时间
"""


def mistakes_of(tmp_path: Path, text: str) -> str:
    path = tmp_path / "orders.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as e:
        load_mappings([path])
    return str(e.value).replace(str(path), "orders.yaml")


def test_a_mapping_is_named_by_its_file_and_knows_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "shop_orders.yaml"
    path.write_text(GOOD + "where:\n  - {column: 状态, in: [1, 2]}\n", encoding="utf-8")
    [found] = load_mappings([path])
    assert (found.name, found.columns) == ("shop_orders", ("状态", "订单号", "下单时间", "付款时间"))
    assert found.where[0].in_ == ("1", "2")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("feed: orders", "feed: order"), "orders.yaml:1: feed: no feed 'order'; did you mean 'orders'?"),
        (("format: csv", "format: excel"), "orders.yaml:3: format: Input should be 'csv', 'jsonl' or 'parquet'"),
        (("format: csv", "format: csv\nencodin: x"), "orders.yaml:4: unknown key 'encodin'; did you mean 'encoding'?"),
        (("files: orders/*.csv", "files: /etc/*"), "orders.yaml:2: files: wanted a pattern below the inbox folder"),
        (("files: orders/*.csv", "files: ../*"), "orders.yaml:2: files: wanted a pattern below the inbox folder"),
        (("order_id: 订单号", "oder_id: 订单号"), "orders.yaml:5: fields.oder_id: feed orders has no field 'oder_id'; did you mean 'order_id'?"),
        (("  order_id: 订单号\n", ""), "orders.yaml:4: fields: feed orders needs 'order_id' (订单号)"),
        (("time: auto", "tme: auto"), "orders.yaml:6: unknown key 'fields.ordered_at.tme'; did you mean 'time'?"),
        (("time: auto", "time: iso"), "orders.yaml:6: fields.ordered_at: 'iso' is no form of time"),
        (("format: csv", "format: csv\ntime_zone: Asia/Shangai"), "unknown time zone 'Asia/Shangai'; did you mean 'Asia/Shanghai'?"),
        (("order_id: 订单号", "order_id: 订单号\n  order_id: x"), "orders.yaml:6: key 'order_id' stands twice (first on line 5)"),
        (("order_id: 订单号", "order_id: {column: a, constant: b}"), "orders.yaml:5: fields.order_id: wanted exactly one of column, constant, sum"),
        (("order_id: 订单号", "order_id: {constant: a, values: {a: b}}"), "orders.yaml:5: fields.order_id: a constant is written as it is meant"),
        (("order_id: 订单号", "order_id: {constant: 1, negate: true}"), "orders.yaml:5: fields.order_id: a constant is written as it is meant"),
        (("order_id: 订单号", "order_id: {column: a, times: b, values: {a: b}}"), "orders.yaml:5: fields.order_id: values maps the texts of one column"),
        (("order_id: 订单号", "order_id: {column: yes}"), "YAML reads this word as true or false; put it in quotes"),
        (("order_id: 订单号", "order_id: 订单号\n  freight_amount_minor: 运费"), "freight_amount_minor is money: say `unit: major` (yuan)"),
        (("order_id: 订单号", "order_id: {column: a, unit: major}"), "order_id is no money, so it has no unit"),
        (("order_id: 订单号", "order_id: {sum: [a, b]}"), "order_id is a string: sum, times, minus and negate are for numbers"),
        (("order_id: 订单号", "order_id: {column: a, time: auto}"), "order_id is a string: time and time_zone are for times"),
        (("format: csv", "format: csv\nname: x"), "orders.yaml:4: unknown key 'name'; a mapping is named by its file"),
        (("format: csv", "format: csv\nwhere: [{column: a}]"), "orders.yaml:4: where.0: wanted exactly one of starts_with"),
        (("format: csv", "format: parquet\nencoding: gb18030"), "a Parquet file has no delimiter and no encoding"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert message in mistakes_of(tmp_path, GOOD.replace(*change))


def test_values_that_the_feed_does_not_know_are_refused(tmp_path: Path) -> None:
    text = (
        "feed: browse\nfiles: b/*\nformat: jsonl\nfields:\n  occurred_at: t\n  device_id: d\n"
        "  behaviour: {column: act, values: {pv: vew}}\n"
    )
    assert "orders.yaml:7: fields.behaviour: behaviour cannot be 'vew'; did you mean 'view'?" in mistakes_of(
        tmp_path, text
    )


def test_a_feed_of_persons_needs_one_of_their_ids(tmp_path: Path) -> None:
    text = "feed: browse\nfiles: b/*\nformat: jsonl\nfields: {occurred_at: t, behaviour: {constant: view}}\n"
    assert "feed browse needs an id of the person: one of member_id, phone" in mistakes_of(tmp_path, text)


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(GOOD.replace("order_id", "oder_id"), encoding="utf-8")
    with pytest.raises(ConfigurationError) as e:
        load_mappings(sorted(tmp_path.glob("*.yaml")))
    assert len(str(e.value).splitlines()) == 4


def test_the_shipped_mappings_load_and_every_feed_has_an_example() -> None:
    found = load_mappings(sorted((CONF / "sources").glob("*.yaml")))
    assert {m.feed for m in found} == set(FEEDS)
    for folder in sorted((CONF / "datasets").iterdir()):
        assert load_mappings(sorted((folder / "sources").glob("*.yaml")))


def test_a_mapping_survives_the_way_to_a_worker() -> None:
    from features.sources import Mapping

    for mapping in load_mappings(sorted((CONF / "sources").glob("*.yaml"))):
        assert (
            Mapping.model_validate(yaml.safe_load(yaml.safe_dump(mapping.model_dump(mode="json", by_alias=True))))
            == mapping
        )


def test_the_quarantine_filter_is_the_contract(tmp_path: Path) -> None:
    from schemas.quarantine import refusals

    for feed in FEEDS:
        c = contract(f"silver.{feed}")
        judged = {r.field for r in refusals(c)}
        wanted = {
            col.name
            for col in c.feed_columns
            if col.level == "fail" and (col.required or col.min is not None or col.max is not None or col.values)
        }
        assert wanted - {c.generated} <= judged | {k.left for k in c.checks}
