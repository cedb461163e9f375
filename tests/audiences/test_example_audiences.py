"""The example shop's audiences hold against the example shop's catalogue, in both languages."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from audiences.compiler import compile_audience
from audiences.language import read_folder
from jobs.audiences.columns import facts_of
from project.attributes import attributes
from tests import shipped

CONF = Path(__file__).parents[2] / "conf"
AUDIENCES = read_folder(CONF / "audiences")
CATALOGUE = attributes(shipped.catalogue())


def test_there_are_four() -> None:
    shipped = ["beijing_lapsed_shiseido", "moving_to_rare_low", "sharers_without_purchase", "super_users_going_dormant"]
    assert list(AUDIENCES) == shipped


@pytest.mark.parametrize("name", AUDIENCES)
def test_an_example_compiles_and_its_events_are_facts_of_the_kernel(name: str) -> None:
    plan = compile_audience(AUDIENCES[name], AUDIENCES, CATALOGUE, currency="CNY")
    assert {f.id for f in facts_of(plan, date(2026, 3, 10))} == set(plan.facts)


@pytest.mark.parametrize("name", AUDIENCES)
def test_an_example_speaks_both_languages(name: str) -> None:
    d = AUDIENCES[name].definition
    for words in (d.name, d.description):
        assert re.search("[\u4e00-\u9fff]", words.zh)
        assert re.search("[a-z]{3}", words.en)


def test_what_conditions_compare_are_numbers_and_days_of_the_kernel_that_need_no_further_word() -> None:
    from features.facts import Fact
    from schemas.measures import COMPARED, MEASURES

    assert set(MEASURES) - set(COMPARED) == {"hour"}
    for measure, aggregates in COMPARED.items():
        behaviour = "view" if measure == "visits" else "pay"
        for agg in aggregates:
            fact = Fact.model_validate({"from": [behaviour], "measure": measure, "agg": agg})
            assert fact.value_type == ("date" if measure == "day" else "float64" if agg == "mean" else "int64")
