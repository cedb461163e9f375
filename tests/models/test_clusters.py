"""k-means: the stored card scores as scikit-learn does, labels have an order, stability has a verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.cluster import KMeans

from models.clusters import ClusterCard, assign, fit, log_scaled, verdict_of

INPUTS = ("spend", "days")


def groups(seed: int = 0, each: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.lognormal(m, 0.25, (each, 2)) for m in (1, 4, 7)])


@pytest.fixture(scope="module")
def card() -> ClusterCard:
    return fit(groups(), INPUTS, version="v1", k_range=(2, 5), bootstraps=4, seed=3)


def test_clear_groups_are_found_and_stable(card: ClusterCard) -> None:
    assert card.k == 3
    assert card.sizes == (120, 120, 120)
    assert card.verdict == "high"
    assert card.warning is None


def test_scoring_equals_scikit_learn(card: ClusterCard) -> None:
    points = log_scaled(groups(1), card.mean, card.scale)
    reference = KMeans(n_clusters=card.k, init=np.array(card.centres), n_init=1, max_iter=1).fit(np.array(card.centres))
    assert (assign(card, groups(1)) == reference.predict(points) + 1).all()


def test_labels_ascend_with_the_first_input(card: ClusterCard) -> None:
    first = [m[0] for m in card.medians]
    assert first == sorted(first)
    assert assign(card, np.array([[0.0, 0.0], [1e6, 1e6]])).tolist() == [1, 3]


def test_a_card_survives_json_bit_for_bit(card: ClusterCard) -> None:
    again = ClusterCard.from_json(json.loads(json.dumps(card.to_json())))
    assert again == card
    assert (assign(again, groups(2)) == assign(card, groups(2))).all()


def test_the_same_values_and_seed_give_the_same_card(card: ClusterCard) -> None:
    assert fit(groups(), INPUTS, version="v1", k_range=(2, 5), bootstraps=4, seed=3) == card


def test_unknown_inputs_have_no_cluster(card: ClusterCard) -> None:
    assert assign(card, np.array([[np.nan, 1.0], [3.0, 3.0]])).tolist() == [0, 1]


def test_noise_without_groups_carries_a_warning() -> None:
    rng = np.random.default_rng(5)
    found = fit(rng.lognormal(3, 1, (200, 3)), ("a", "b", "c"), version="v", k_range=(5, 6), bootstraps=4)
    assert found.verdict == "unstable"
    assert found.warning is not None and "below 0.60" in found.warning


def test_an_input_that_never_varies_does_no_harm() -> None:
    values = np.column_stack([groups()[:, 0], np.ones(360)])
    assert fit(values, INPUTS, version="v", k_range=(3, 3), bootstraps=2).k == 3


def test_too_few_unlike_users_are_refused() -> None:
    with pytest.raises(ValueError, match="2 distinct rows cannot be cut into 3 clusters"):
        fit(np.array([[1.0], [1.0], [5.0]]), ("a",), version="v")


def test_verdicts_follow_the_definition() -> None:
    assert [verdict_of(s) for s in (0.59, 0.60, 0.75, 0.85, 0.86)] == [
        "unstable",
        "doubtful",
        "stable",
        "stable",
        "high",
    ]
