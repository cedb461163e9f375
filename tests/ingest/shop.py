"""A small shop for the tests of ingest: a project folder, an engine that runs tasks in this process, and what a lake holds."""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import yaml

from jobs.ingest.step import IngestReport, ingest, replay
from lake.lake import Lake
from project.folder import Project

RECEIVED = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)

ORDERS = {
    "feed": "orders",
    "files": "orders/*",
    "format": "csv",
    "fields": {"order_id": "订单号", "ordered_at": "下单时间", "paid_at": "支付时间", "member_id": "会员号"},
}
LINES = {
    "feed": "order_lines",
    "files": "lines/*",
    "format": "csv",
    "fields": {
        "order_id": "order",
        "ordered_at": "at",
        "sku_id": "sku",
        "quantity": "qty",
        "net_amount_minor": {"column": "paid", "unit": "major"},
    },
}
BROWSE = {
    "feed": "browse",
    "files": "browse/*",
    "format": "jsonl",
    "fields": {
        "occurred_at": {"column": "ts", "time": "epoch_milliseconds"},
        "behaviour": {"column": "act", "values": {"pv": "view", "cart": "cart"}},
        "member_id": "mid",
        "device_id": "did",
    },
}


class InProcess:
    """``map`` as both engines have it, one item after the other; items and results go through JSON as they do there."""

    name = "embedded"
    cores = 2
    spills = None
    is_apart = False

    def map(self, task: str, items: Sequence[dict[str, Any]], progress: Any = None) -> list[dict[str, Any]]:
        module, _, function = task.partition(":")
        run = getattr(importlib.import_module(module), function)
        return [json.loads(json.dumps(run(json.loads(json.dumps(item))))) for item in items]


@dataclass
class Shop:
    """A project folder with an inbox, and shorthands to deliver, ingest and look."""

    folder: Path
    sources: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "sources").mkdir(parents=True, exist_ok=True)
        (self.folder / "huaxiang.yaml").write_text(yaml.safe_dump(self.settings or {"currency": "CNY"}))
        for name, mapping in self.sources.items():
            self.map(name, mapping)

    def map(self, name: str, mapping: dict[str, Any]) -> None:
        text = yaml.safe_dump(mapping, allow_unicode=True, sort_keys=False)
        (self.folder / "sources" / f"{name}.yaml").write_text(text, encoding="utf-8")

    @property
    def project(self) -> Project:
        return Project.load(self.folder)

    @property
    def lake(self) -> Lake:
        return self.project.lake

    def deliver(self, name: str, content: str | bytes, *, gz: bool = False) -> Path:
        data = content.encode() if isinstance(content, str) else content
        path = self.folder / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(data, mtime=0) if gz else data)
        return path

    def ingest(self, received_at: datetime = RECEIVED, **options: Any) -> IngestReport:
        return ingest(self.project, InProcess(), received_at=received_at, **options)  # type: ignore[arg-type]

    def replay(self, received_at: datetime = RECEIVED, **options: Any) -> IngestReport:
        return replay(self.project, InProcess(), received_at=received_at, **options)  # type: ignore[arg-type]

    def rows(self, table: str, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
        """Rows of a table, partition columns included, in order of the columns."""
        if not self.lake.files(table):
            return []
        with duckdb.connect(config={"threads": 1}) as con:
            con.execute("set TimeZone = 'UTC'")
            con.register("t", self.lake.dataset(table))
            return con.execute(f"select {columns} from t where {where} order by all").fetchall()

    def count(self, table: str, where: str = "true") -> int:
        found = self.rows(table, "count(*)", where)
        return int(found[0][0]) if found else 0

    def content(self, table: str) -> list[tuple[Any, ...]]:
        """Rows without the lineage that says which file and batch brought them."""
        return self.rows(table, "* exclude (_batch_id, _file, _row, _ingested_at)")


def csv(header: Sequence[str], *rows: Sequence[object]) -> str:
    """Comma-separated text of plain cells."""
    return "".join(",".join(map(str, line)) + "\n" for line in (header, *rows))
