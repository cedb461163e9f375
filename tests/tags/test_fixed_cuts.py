"""Fixed cuts instead of quantiles: declared numbers that are the same every day (definitions.md section 2)."""

from __future__ import annotations

from pathlib import Path

import pytest

from features.frozen_numbers import Break
from features.tagging import tag_sql
from project.loading import load_catalogue
from schemas.errors import ConfigurationError

TAGS = Path(__file__).parents[2] / "conf" / "tags"
RECENCY = "rfm_recency: {of: days_since_last_purchase, where: purchase_days_365d > 0, quantiles: [0.2, 0.4, 0.6, 0.8]}"


def shipped_with(tmp_path: Path, line: str) -> list[Path]:
    for path in TAGS.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        (tmp_path / path.name).write_text(text.replace(f"  {RECENCY}", f"  {line}"), encoding="utf-8")
    return sorted(tmp_path.glob("*.yaml"))


def test_fixed_cuts_take_the_place_of_quantiles(tmp_path: Path) -> None:
    paths = shipped_with(tmp_path, "rfm_recency: {of: days_since_last_purchase, fixed: [7, 30, 90, 180]}")
    catalogue = load_catalogue(paths)
    assert catalogue.fixed["rfm_recency"] == (7, 30, 90, 180)
    # no round is opened for numbers that are there from the start
    assert catalogue.rounds[("tag", "rfm_recency")] == 0
    sql = tag_sql(catalogue, catalogue.tag("rfm_recency"), catalogue.fixed)
    assert all(f"{n}.0e0" in sql for n in (7, 30, 90, 180))


def test_what_fixed_numbers_are_of_is_checked(tmp_path: Path) -> None:
    paths = shipped_with(tmp_path, "rfm_recency: {of: days_since_the_last_purchase, fixed: [7, 30, 90, 180]}")
    with pytest.raises(ConfigurationError, match="unknown column 'days_since_the_last_purchase'"):
        load_catalogue(paths)


@pytest.mark.parametrize(
    "said", [{"fixed": (30, 7)}, {"fixed": ()}, {"fixed": (1,), "keep": True}, {"fixed": (1, float("nan"))}]
)
def test_fixed_numbers_that_say_nothing_are_refused(said: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fixed"):
        Break(of="x", **said)  # type: ignore[arg-type]
