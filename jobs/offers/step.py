"""Step ``offers``: what a user's orders say about promotions, and the next category (definitions.md sections 6 and 14).

1. a task per bucket reads its orders once: order parts, totals by category and day, baskets by category;
2. the totals of all buckets are added up: categories x days, and the categories with the most baskets;
3. a task per bucket counts the pairs of categories, which give the rules of cross-purchase;
4. a task per bucket computes its users' rows against the totals of everybody else.

Rows of days before ``keep_days`` leave the newest version of the table, month ends stay. The rules are left in the
run's scratch folder for ``jobs/insights/value.py``, which publishes them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.cross_purchase import CrossPurchaseSettings, Rules, most_bought, rules
from features.instants import iso_day_of
from features.kernel import Products
from features.promotion import Cells, PromotionSettings, cells_together
from jobs.offers import tasks as tasks
from jobs.profile.snapshots import day_of
from lake.lake import by_bucket
from lake.publish import Audit
from project.products import products_as_of

if TYPE_CHECKING:
    from lake.engine import Engine
    from project.folder import Project

TABLE = tasks.TABLE
FILES_AT_ONCE = 16
"""Of buckets, added up together: all at once would need memory in proportion to the users."""


def run_offers(
    project: Project,
    engine: Engine,
    as_of: dt.date,
    *,
    run_id: str,
    known_at: dt.datetime | None = None,
    audit: Audit | None = None,
) -> int:
    """Replace the day's slice of ``profile.offers``; rows written: users with a valid order in the windows."""
    keep_days = project.settings.keep_days
    with day_of(project.lake, [TABLE], as_of, run_id=run_id, audit=audit, keep_days=keep_days) as staged:
        orders = WindowOrders(project, engine, as_of, run_id, known_at)
        items = [{**item, "out": str(staged[TABLE])} for item in orders.user_items()]
        return sum(made["users"] for made in orders.map("offers_of_bucket", items))


def associations(
    project: Project, engine: Engine, as_of: dt.date, *, run_id: str, known_at: dt.datetime | None = None
) -> pa.Table:
    """The rules of cross-purchase as of a day, strongest first, in the columns of ``segments.associations``.

    Those that the run's step ``offers`` left, or else counted anew.
    """
    orders = WindowOrders(project, engine, as_of, run_id, known_at)
    if not orders.associations_file.is_file():
        orders.write_rules()
    return pq.ParquetFile(orders.associations_file).read()


@dataclass(frozen=True)
class WindowOrders:
    """The orders of one day's windows: parts by bucket, totals of all, rules. Everything is made when first asked for."""

    project: Project
    engine: Engine
    as_of: dt.date
    run_id: str
    known_at: dt.datetime | None

    @cached_property
    def promotion(self) -> PromotionSettings:
        return self.project.method("promotion", PromotionSettings)

    @cached_property
    def cross(self) -> CrossPurchaseSettings:
        return self.project.method("cross_purchase", CrossPurchaseSettings)

    @cached_property
    def folder(self) -> Path:
        found = self.project.lake.scratch(self.run_id) / f"offers-{self.as_of}"
        found.mkdir(parents=True, exist_ok=True)
        return found

    @property
    def associations_file(self) -> Path:
        return self.folder / "associations.parquet"

    def map(self, task: str, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.engine.map(f"jobs.offers.tasks:{task}", list(items))

    @cached_property
    def products(self) -> Path:
        path = self.folder / "products.parquet"
        pq.write_table(products_as_of(self.project.lake, self.as_of, known_at=self.known_at), path)
        return path

    @cached_property
    def category_names(self) -> pa.Array:
        """Texts of the categories by their numbers; the first stands for none."""
        return Products.from_texts(pq.ParquetFile(self.products).read())[0].texts["category"]

    @cached_property
    def shared(self) -> dict[str, Any]:
        return {
            "as_of": self.as_of.isoformat(),
            "known_at_day": iso_day_of(self.known_at, self.project.zone),
            "promotion_days": self.promotion.window,
            "basket_days": self.cross.window,
            "products": str(self.products),
        }

    @cached_property
    def parts(self) -> list[dict[str, Any]]:
        """What ``parts_of_bucket`` says of every bucket that has orders."""
        activity, users = (by_bucket(self.project.lake.files(t)) for t in ("activity.activity", "identity.users"))
        items = [
            {**self.shared, "bucket": b, "files": files, "users": users.get(b, []), "out": f"{self.folder}/bucket-{b}"}
            for b, files in activity.items()
        ]
        return [found for found in self.map("parts_of_bucket", items) if found["rows"]]

    @cached_property
    def category_baskets(self) -> np.ndarray:
        """Baskets by category number."""
        counts = np.zeros(len(self.category_names), np.int64)
        for path in self.project.lake.local(part["baskets"] for part in self.parts):
            table = pq.ParquetFile(path).read()
            counts[table["category"].to_numpy()] += table["users"].to_numpy()
        return counts

    @cached_property
    def categories(self) -> np.ndarray:
        """Numbers of the categories that are paired, ascending."""
        return most_bought(self.category_baskets, self.cross.categories)

    def cells(self) -> str:
        """Totals of everybody by category and day; their file."""
        found: Cells = cells_together([])
        for paths in _batches([part["cells"] for part in self.parts], FILES_AT_ONCE):
            found = cells_together([found, *(tasks.read_cells(p) for p in self.project.lake.local(paths))])
        tasks.write_cells(found, path := self.folder / "cells.parquet")
        return str(path)

    def rules(self) -> Rules:
        """Both directions of every pair of categories that is bought together often enough, strongest first."""
        items = [
            {
                **self.shared,
                "categories": self.categories.tolist(),
                "parts": part["parts"],
                "out": f"{part['parts']}.pairs",
            }
            for part in self.parts
        ]
        total = np.zeros(len(self.categories) ** 2, np.int64)
        for path in self.project.lake.local(found["pairs"] for found in self.map("pairs_of_bucket", items)):
            table = pq.ParquetFile(path).read()
            total[table["pair"].to_numpy()] += table["users"].to_numpy()
        key = np.flatnonzero(total)
        return rules(
            (key, total[key]),
            self.category_baskets[self.categories],
            sum(part["all_baskets"] for part in self.parts),
            self.cross.min_joint_baskets,
            self.cross.max_rules,
        )

    def write_rules(self) -> Rules:
        """Count the rules and leave them, with names, where ``associations`` looks."""
        found = self.rules()
        names = self.category_names.take(pa.array(self.categories, pa.int64()))
        table = pa.table(
            {
                "left_item": names.take(pa.array(found.left, pa.int64())),
                "right_item": names.take(pa.array(found.right, pa.int64())),
                "baskets": pa.array([found.baskets] * len(found), pa.int64()),
                "left_baskets": pa.array(found.left_baskets, pa.int64()),
                "right_baskets": pa.array(found.right_baskets, pa.int64()),
                "joint_baskets": pa.array(found.joint_baskets, pa.int64()),
                "support": pa.array(np.round(found.support, 6), pa.float64()),
                "confidence": pa.array(np.round(found.confidence, 6), pa.float64()),
                "lift": pa.array(np.round(found.lift, 6), pa.float64()),
            }
        )
        pq.write_table(table, self.associations_file)
        return found

    def user_items(self) -> list[dict[str, Any]]:
        """What ``offers_of_bucket`` needs of every bucket, but ``out``."""
        found = self.write_rules()
        tasks.write_rules(found.where(found.lift > self.cross.min_lift), rules_file := self.folder / "rules.parquet")
        names_file = self.folder / "categories.parquet"
        pq.write_table(pa.table({"category": self.category_names}), names_file)
        whole = {
            **self.shared,
            "categories": self.categories.tolist(),
            "cells": self.cells(),
            "rules": str(rules_file),
            "names": str(names_file),
        }
        return [{**whole, "bucket": part["bucket"], "parts": part["parts"]} for part in self.parts]


def _batches(paths: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (paths[i : i + size] for i in range(0, len(paths), size))
