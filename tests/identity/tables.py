"""Running the step on hand-made deliveries, and reading what it published."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow.parquet as pq

from jobs.identity.step import IDENTIFIERS, LINKS, MERGES, USERS, IdentityReport, update_identity
from lake import journal
from lake.engine import Engine
from lake.lake import Lake
from tests.identity.oracle import Interval

SALT = "salt of the tests"
DAY = date(2026, 3, 31)


def run(lake: Lake, engine: Engine, run_id: str, as_of: date = DAY) -> IdentityReport:
    report = update_identity(lake, engine, as_of, run_id, SALT)
    journal.finish(lake, run_id)
    return report


def rows(lake: Lake, table: str, version: int | None = None) -> list[dict[str, Any]]:
    """The table's rows in a fixed order."""
    found: list[dict[str, Any]] = []
    for f in lake.files(table, version):
        found += [{**f.partition, **r} for r in pq.ParquetFile(f.path).read().to_pylist()]
    return sorted(found, key=lambda r: [(k, str(v)) for k, v in sorted(r.items())])


@dataclass(frozen=True)
class Identity:
    """The published tables, read back."""

    users: dict[int, dict[str, Any]]
    identifiers: list[dict[str, Any]]
    merges: list[dict[str, Any]]
    links: list[dict[str, Any]]
    persons: dict[int, frozenset[Interval]] = field(default_factory=dict)

    def uid(self, kind: str, value: str, day: date = DAY) -> int:
        """Whose the id is on a day."""
        (found,) = [
            r["uid"]
            for r in self.identifiers
            if (r["id_kind"], r["id_value"]) == (kind, value)
            and (r["from_day"] is None or r["from_day"] <= day)
            and (r["until_day"] is None or day < r["until_day"])
        ]
        return int(found)

    @property
    def content(self) -> tuple[Any, ...]:
        """Everything, to compare two lakes; runs are named apart."""
        return self.users, self.identifiers, [{**m, "run_id": ""} for m in self.merges], self.links


def published(lake: Lake) -> Identity:
    identifiers = rows(lake, IDENTIFIERS)
    persons: dict[int, set[Interval]] = defaultdict(set)
    for r in identifiers:
        persons[r["uid"]].add((r["id_kind"], r["id_value"], r["from_day"], r["until_day"]))
    return Identity(
        users={r["uid"]: r for r in rows(lake, USERS)},
        identifiers=identifiers,
        merges=rows(lake, MERGES),
        links=rows(lake, LINKS),
        persons={uid: frozenset(p) for uid, p in persons.items()},
    )
