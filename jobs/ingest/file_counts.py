"""What one delivered file held, and whether so much of it is bad that nothing of it is taken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from features.sources import Mapping
from jobs.ingest.findings import KINDS, Findings, said

FEWEST_REFUSED = 5
"""A file with fewer rows in quarantine is taken whatever their share: in a file of four rows one typing error is a quarter,
and so few can be looked at one by one."""
MOST_REASONS = 10


@dataclass
class FileCounts:
    """What one file held. ``rows_duplicate`` are rows that repeat those before them of their key.

    ``late`` counts rows by whole business days between event and ingest.
    ``reasons`` are those of quarantine, ``unread`` texts that are absent because they are no phone or address, by form,
    ``remarks`` what else should be known of the rows that were taken.
    """

    name: str
    error: str | None = None
    columns: list[str] = field(default_factory=list)
    rows_read: int = 0
    rows_not_selected: int = 0
    rows_quarantined: int = 0
    rows_duplicate: int = 0
    dst_moved: int = 0
    late: dict[int, int] = field(default_factory=dict)
    event_first_us: int | None = None
    event_last_us: int | None = None
    reasons: Findings = field(default_factory=Findings)
    unread: Findings = field(default_factory=Findings)
    remarks: Findings = field(default_factory=Findings)

    def as_item(self) -> dict[str, Any]:
        """For the way to the driver: findings as lists, the most frequent first."""
        found = asdict(self)
        return found | {n: [asdict(f) for f in getattr(self, n).listed()] for n in KINDS}

    def refusal(self, mapping: Mapping) -> str | None:
        """Why the whole file is refused: a larger share of the rows it should give is in quarantine than the mapping allows."""
        selected = self.rows_read - self.rows_not_selected
        bad = self.rows_quarantined
        if bad < FEWEST_REFUSED or bad <= mapping.most_quarantined * selected:
            return None
        reasons = [said(f) for f in self.reasons.listed()]
        more = f"; and {len(reasons) - MOST_REASONS} more reasons" if len(reasons) > MOST_REASONS else ""
        return (
            f"{self.name}: {bad:,} of {selected:,} rows would go to quarantine, more than {mapping.most_quarantined:.0%}, so "
            f"nothing of the file was taken; mend {mapping.name}.yaml or the file, or raise `most_quarantined` there: "
            f"{'; '.join(reasons[:MOST_REASONS])}{more}"
        )

    def add_events(self, event_us: np.ndarray, days_late: np.ndarray) -> None:
        if len(event_us) == 0:
            return
        first, last = int(event_us.min()), int(event_us.max())
        self.event_first_us = first if self.event_first_us is None else min(first, self.event_first_us)
        self.event_last_us = last if self.event_last_us is None else max(last, self.event_last_us)
        counts = Counter(self.late)
        for days, n in zip(*(a.tolist() for a in np.unique(days_late, return_counts=True)), strict=True):
            counts[days] += n
        self.late = dict(counts)

    def remove_late(self, days_late: np.ndarray) -> None:
        """Rows that were counted and are set aside after all."""
        for days in days_late.tolist():
            self.late[days] -= 1
        self.late = {days: n for days, n in self.late.items() if n}


def text_of_columns(columns: Sequence[str]) -> str:
    """Column names of a file for the manifest."""
    return json.dumps(list(columns), ensure_ascii=False)
