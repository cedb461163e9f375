"""``huaxiang flow``: user by user from segment to segment between any two released days whose snapshots are there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from features.migration import flows_between
from lake.releases import newest
from lake.sql import connect
from project.folder import Project
from project.held import held_in_words, marks_of
from schemas.errors import HuaxiangError, NotThereError
from schemas.tag_roles import TagRole

DAYS = "select distinct as_of from segments.segments where scheme = ? order by as_of"


@dataclass(frozen=True)
class SegmentFlow:
    """One segment between two days: ``at_start = stayed + moved_out + lost`` and ``at_end = stayed + moved_in + new``."""

    segment: str
    at_start: int
    stayed: int
    moved_out: int
    lost: int
    moved_in: int
    new: int
    at_end: int


@dataclass(frozen=True)
class FlowReport:
    """Counts by (from, to), NEW and LOST included, and the balance of every segment; ``warnings`` tell of held tags."""

    scheme: str
    first: date
    last: date
    counts: dict[tuple[str, str], int]
    segments: tuple[SegmentFlow, ...]
    warnings: tuple[str, ...] = ()


def flow(project: Project, scheme: str | None, first: date, last: date) -> FlowReport:
    """The flow of a segmentation, of the AIPL stage if absent. NotThereError names the segmentations and days there are."""
    catalogue = project.catalogue
    if scheme is None:
        scheme = catalogue.tag_of(TagRole.AIPL).id
    if scheme not in catalogue.schemes:
        raise NotThereError(f"no segmentation {scheme!r}; there are {', '.join(catalogue.schemes)}")
    if last < first:
        raise HuaxiangError(f"a flow goes from the older day to the newer one, not from {first} to {last}")
    at = newest(project.lake)
    with connect(project.lake, at) as con:
        days = [row[0] for row in con.execute(DAYS, [scheme]).fetchall()]
        for day in (first, last):
            if day not in days:
                there = ", ".join(map(str, days)) or "none"
                raise NotThereError(f"no snapshot of {scheme} at {day}; there are {there}")
        counts = flows_between(con, scheme, first, last)
    order = {v: i for i, v in enumerate(catalogue.tag(scheme).finite or ())}
    names = sorted({s for pair in counts for s in pair} - {"NEW", "LOST"}, key=lambda s: (order.get(s, len(order)), s))
    held = {d: marks_of(project.lake, catalogue, at, d).of([scheme]) for d in (first, last)}
    told = tuple(
        f"{scheme} is made from {held_in_words(h)} on {d}, that is from older values" for d, h in held.items() if h
    )
    return FlowReport(scheme, first, last, counts, tuple(balance(counts, s) for s in names), told)


def balance(counts: dict[tuple[str, str], int], segment: str) -> SegmentFlow:
    """The balance of one segment."""
    stayed = counts.get((segment, segment), 0)
    lost = counts.get((segment, "LOST"), 0)
    new = counts.get(("NEW", segment), 0)
    start = sum(n for (was, _), n in counts.items() if was == segment)
    end = sum(n for (_, now), n in counts.items() if now == segment)
    return SegmentFlow(segment, start, stayed, start - stayed - lost, lost, end - stayed - new, new, end)
