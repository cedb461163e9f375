"""A hand-made lake with the shipped tags of lifecycle and quadrants, and a run of the insights over it."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from features.catalogue import Catalogue
from jobs.insights.step import Insight, InsightRun
from project.folder import Project
from project.loading import load_catalogue
from schemas.contracts import contract
from tests.audiences.lake_shop import Shop

CONF = Path(__file__).parents[2] / "conf"
TABLES = {"figures": "segments.figures", "curves": "segments.curves", "alerts": "segments.alerts"}


@dataclass
class InThisProcess:
    """An engine that runs its tasks one after the other."""

    tasks: int = 0

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Any = None) -> list[dict[str, Any]]:
        module, name = task.split(":")
        self.tasks += len(items)
        return [getattr(importlib.import_module(module), name)(item) for item in items]


@cache
def shipped() -> Catalogue:
    """The shipped tags, read once: checking them takes most of a second."""
    return load_catalogue(sorted((CONF / "tags").glob("*.yaml")))


class ShopOfOneProject(Shop):
    """A shop whose project is loaded once."""

    @cached_property
    def project(self) -> Project:
        found = Project.load(self.folder)
        found.__dict__["catalogue"] = shipped()
        return found


def shop_at(folder: Path, **audiences: str) -> Shop:
    shop = ShopOfOneProject(folder)
    shutil.rmtree(folder / "tags")
    shutil.copytree(CONF / "tags", folder / "tags")
    (folder / "audiences" / "beijing.yaml").unlink()
    for name, text in audiences.items():
        shop.define(name, text)
    return shop


def insight(shop: Shop, topic: str, as_of: date, engine: InThisProcess | None = None) -> Insight:
    """What a topic gives; its rows fit the contracts."""
    run = InsightRun(shop.project, engine or InThisProcess(), as_of, f"run-{topic}-{as_of}")  # type: ignore[arg-type]
    found: Insight = importlib.import_module(f"jobs.insights.{topic}").insight(run)
    for name, table in TABLES.items():
        # Which days' profile a figure is made of is for its mark and is not stored.
        known = {c.name for c in contract(table).columns} | {"profile_days"}
        assert not [row for row in getattr(found, name) if set(row) - known]
    return found


def publish(shop: Shop, topic: str, as_of: date, found: Insight) -> None:
    """Put the topic's rows into the lake as the step does."""
    for name, table in TABLES.items():
        rows = [{"item": "", "series": "", "topic": topic, **row, "as_of": as_of} for row in getattr(found, name)]
        if rows:
            shop.put(table, rows, replace=[{"as_of": as_of}])


def breaks(shop: Shop, as_of: date, numbers: Mapping[str, Sequence[float]], fitted_on: date) -> None:
    rows = [
        {"as_of": as_of, "name": n, "position": i, "number": float(v), "spec": "s", "fitted_on": fitted_on}
        for n, values in numbers.items()
        for i, v in enumerate(values, 1)
    ]
    shop.put("profile.breaks", rows, replace=[{"as_of": as_of}])
