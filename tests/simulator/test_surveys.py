"""Questionnaires and notes by hand: their answers are those of their persons, and no other feed moves by them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from project.loading import load_mappings
from simulator import Shop, simulate, surveys
from simulator import shop as simulator

SOURCES = Path(__file__).parents[2] / "conf" / "sources"


def _good(shop: Shop, name: str) -> pd.DataFrame:
    feed = shop.feeds[name]
    frame = feed.rows.to_pandas()[feed.fault == 0]
    return frame.astype({c: object for c in frame if isinstance(frame[c].dtype, pd.CategoricalDtype)})


def test_the_feed_says_what_the_truth_says_was_answered(town: Shop) -> None:
    rules = next(m for m in load_mappings([SOURCES / "surveys.yaml"])).fields
    said = _good(town, "surveys").drop_duplicates("event_id").sort_values("event_id")
    truth = town.truth["survey_answers"].to_pandas()
    assert list(said.attribute.map(dict(rules["attribute"].values))) == list(truth.attribute)
    assert list(said.answer.map(dict(rules["answer"].values))) == list(truth.answer)
    ids = town.truth["person_ids"].to_pandas()
    owner = ids[ids.id_kind == "member"].set_index("id_value").person_id
    named = said.member_id.notna().to_numpy()
    assert list(owner[said.member_id[named]]) == list(truth.person_id[named])
    assert 0.1 < (~named).mean() < 0.4, "some questionnaires show a WeChat id only"
    assert said[~named].openid.notna().all()


def test_most_answers_are_so_and_some_are_not(town: Shop) -> None:
    truth = town.truth["survey_answers"].to_pandas()
    members = town.truth["persons"].to_pandas().is_member.sum()
    assert 0.1 < truth.person_id.nunique() / members < 0.2
    agreed = (truth.answer == truth.truth).groupby(truth.attribute).agg(["mean", "size"])
    assert set(agreed.index) == {attribute for attribute, _, _ in surveys.QUESTIONS}
    assert agreed["mean"].between(0.8, 0.95).all(), agreed


def test_declared_incomes_go_with_money_spent(town: Shop) -> None:
    orders = town.truth["orders"].to_pandas()
    paid = orders[orders.paid_at.notna() & orders.cancelled_at.isna()]
    spent = paid.groupby("person_id").net_amount_minor.sum()
    answers = town.truth["survey_answers"].to_pandas()
    incomes = answers[answers.attribute == "income_band"].drop_duplicates("person_id")
    mean = spent.reindex(incomes.person_id, fill_value=0).groupby(incomes.answer.to_numpy()).mean()
    assert mean["high"] > mean["low"]


def test_a_member_has_one_note_and_some_notes_end(town: Shop) -> None:
    notes = _good(town, "manual_tags").drop_duplicates()
    assert notes.member_id.is_unique
    assert notes.expires_on.isna().any() and notes.expires_on.notna().any()
    ends = pd.to_datetime(notes.expires_on.dropna())
    assert (ends > notes.noted_at[ends.index].dt.normalize()).all()
    last = pd.Timestamp(town.season.last_day)
    assert (ends < last).any() and (ends > last).any()


def test_other_feeds_do_not_move_when_nobody_answers(small: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    made = surveys.make_answers

    def nobody(*args: object) -> surveys.Answers:
        found = made(*args)  # type: ignore[arg-type]
        none = np.zeros(0, np.int64)
        empty = {n: getattr(found, n)[:0] for n in ("person", "wall", "survey", "question", "answer", "truth")}
        return replace(found, **empty, marks=found.marks[none])

    monkeypatch.setattr(simulator, "make_answers", nobody)
    silent = simulate(users=300, days=60, seed=3)
    assert len(silent.feeds["surveys"]) == 0
    for name in small.feeds.keys() - {"surveys"}:
        assert silent.feeds[name].rows.equals(small.feeds[name].rows), name
