"""Segmentations that no other part shows: the shop's own (``scheme: true``), each with its shares and its whole table."""

from __future__ import annotations

from report.blocks import Section
from report.data import ReportData
from report.sections.segmentation import shares, whole_table
from schemas.tag_roles import ROLES, used_by
from schemas.text import Text

SHOWN = tuple(role for role in used_by("report") if ROLES[role].segmentation)
"""Roles of the segmentations that have a part of their own."""


def other_segmentations(d: ReportData) -> Section:
    """Empty where every segmentation has its place elsewhere."""
    shown = {d.of(role) for role in SHOWN}
    mine = [n for n in d.project.catalogue.schemes if n not in shown and n in d.segments]
    return Section(
        "segmentations",
        Text("其他分群方案", "Other segmentations"),
        Text(
            "目录中声明为分群方案（scheme: true）、前面没有单列的标签。",
            "Tags of the catalogue that are segmentations (scheme: true) and have no part of their own above.",
        ),
        tuple(block for n in mine for block in (shares(d, n), whole_table(d, n))),
    )
