"""A project whose lake holds one day's profile of few columns: what the topics value and promotion read."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.insights.step import InsightRun
from lake.lake import Lake
from project.folder import Project
from schemas.arrow import arrow_schema
from schemas.contracts import contract
from tests.ingest.shop import InProcess
from tests.offers.lake_shop import Line, project_of, staged_rows

LAST = date(2026, 3, 31)
TAGS = Path(__file__).parents[2] / "conf" / "tags"
SPEND = """
defaults: {owner: o, refresh: daily, version: 1, kind: dynamic, method: fact, type: int64, sources: [orders]}
facts: {buyers_brought_ever: {from: [brought_order], measure: peer, agg: distinct}}
tags:
  - id: net_amount_365d
    role: monetary
    name: {zh: 消费, en: Spend}
    description: {zh: 消费, en: Spend}
    path: [消费特征, 消费总规模, 消费]
    unit: minor
    values: {min: 0}
    window: 365
    empty: 0
    fact: {from: [pay], measure: net_amount, agg: sum, window: 365}
  - id: super_user
    role: super_user
    scheme: true
    strategies: {super: {zh: 维护, en: Keep}, ordinary: {zh: 无, en: None}}
    name: {zh: 超级用户, en: Super user}
    description: {zh: 超级用户, en: Super user}
    path: [会员特征, 会员类型, 超级用户]
    method: rule
    type: string
    values: [super, ordinary]
    empty: ordinary
    rules: [{when: net_amount_365d >= 500000, value: super}]
    else: ordinary
  - id: user_pyramid
    role: pyramid
    scheme: true
    strategies:
      spokesperson: {zh: 佣金, en: Commission}
      repeat: {zh: 社群, en: Groups}
      first_purchase: {zh: 回访, en: Follow up}
      follower: {zh: 内容, en: Content}
    name: {zh: 金字塔, en: Pyramid}
    description: {zh: 金字塔, en: Pyramid}
    path: [会员特征, 会员类型, 金字塔]
    method: rule
    type: string
    values: [spokesperson, repeat, first_purchase, follower]
    empty: follower
    rules: [{when: buyers_brought_ever > 0, value: spokesperson}]
    else: follower
"""


def run_of(folder: Path, users: Sequence[Mapping[str, Any]], lines: Sequence[Line] = (), **methods: Any) -> InsightRun:
    """The insights of ``LAST`` over these profile rows; columns that they leave out are null."""
    project = project_of(folder, lines or [Line(1, LAST, 1, 8)], **methods)
    (folder / "tags").mkdir()
    shutil.copy(TAGS / "promotion.yaml", folder / "tags")
    (folder / "tags" / "spend.yaml").write_text(SPEND, encoding="utf-8")
    project = Project.load(folder)
    lake: Lake = project.lake
    lake.ensure("profile.profile", project.catalogue.columns)
    rows = [
        {"as_of": LAST, "bucket": 0, "uid": i, "user_id": f"u{i}", "is_member": True, **user}
        for i, user in enumerate(users)
    ]
    schema = pa.schema([*arrow_schema(contract("profile.profile")), *project.catalogue.columns])
    staged_rows(lake, "profile.profile", pa.Table.from_pylist(rows, schema), schema)
    return InsightRun(project, InProcess(), LAST, "r")  # type: ignore[arg-type]
