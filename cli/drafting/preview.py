"""What ingest would make of a file's first rows, with everything that tells a person masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import yaml
from pydantic import ValidationError

from cli.drafting.masking import HIDDEN, shown
from cli.drafting.rendering import with_guesses
from cli.drafting.rules import FieldLine
from cli.drafting.sample import Sample
from features.cleaning import Cleaner
from features.sources import Mapping, mistakes, shortfalls
from project.folder import ProjectSettings
from schemas.contracts import Column, Contract

PREVIEW_ROWS, MOST_REASONS = 5, 5


@dataclass
class Trial:
    """``rows`` that pass, and why others do not. ``guessed``: the mapping reads only with its commented lines taken.

    ``incomplete`` says why ``huaxiang check`` would refuse it as it is, ``empty`` what cannot come of it, and the ways out.
    """

    rows: list[dict[str, str]] = field(default_factory=list)
    guessed: bool = False
    incomplete: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    rows_tried: int = 0
    rows_refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def comments(self, file: str) -> list[str]:
        lines = [f"# incomplete: {text}" for text in self.incomplete]
        lines += [f"# stays empty: {text}" for text in self.empty]
        if not self.rows_tried:
            return lines
        taken = ", were the lines that are commented out taken" if self.guessed else ""
        lines.append(f"# --- the first rows of {file} through it{taken} ---")
        lines += ["# " + ", ".join(f"{k}={v}" for k, v in row.items()) for row in self.rows]
        lines.append(f"# {self.rows_tried - self.rows_refused:,} of {self.rows_tried:,} rows pass")
        return lines + [f"# {n:,} rows: {reason}" for reason, n in self.reasons.items()]


def tried_rows(
    sample: Sample,
    c: Contract,
    text: str,
    lines: Sequence[FieldLine],
    settings: ProjectSettings,
    connection: duckdb.DuckDBPyConnection,
) -> Trial:
    """The first rows through the mapping ``text``; where it lacks what its feed needs, through it with its guesses."""
    mapping, wrong, empty = _loaded(text)
    found = Trial(incomplete=wrong, empty=empty)
    if mapping is None:
        found.guessed = True
        mapping, _, _ = _loaded(with_guesses(text, lines))
    if mapping is None or not sample.rows:
        return found
    table = pa.table({f"c{k}": pa.array([r[k] for r in sample.rows], pa.string()) for k in range(len(sample.columns))})
    cleaner = Cleaner(
        mapping,
        zone=settings.time_zone,
        currency=settings.currency,
        guest_ids=settings.guest_ids,
        connection=connection,
    )
    cleaned = cleaner(table, sample.columns)
    found.rows_tried, found.rows_refused = len(cleaned.refused), int(cleaned.refused.sum())
    reasons = Counter(line for said in cleaned.reasons.to_pylist() for line in said.splitlines())
    found.reasons = dict(reasons.most_common(MOST_REASONS))
    good = cleaned.rows.filter(pa.array(~cleaned.refused)).slice(0, PREVIEW_ROWS).to_pylist()
    for row in good:
        there = {n: v for n, v in row.items() if n != "row_hash" and v is not None}
        found.rows.append({n: _shown(c.column(n), v, settings.time_zone) for n, v in there.items()})
    return found


def _loaded(text: str) -> tuple[Mapping | None, list[str], list[str]]:
    """The mapping, what it lacks in the words of ``huaxiang check``, and what stays empty; no mapping where it lacks."""
    content = yaml.load(text, Loader=yaml.CSafeLoader)
    if not content.get("fields"):
        return None, ["no field is decided yet"], []
    try:
        mapping = Mapping.model_validate(content)
    except ValidationError as e:
        return None, [str(error["msg"]) for error in e.errors()], []
    missing = list(shortfalls(mapping))
    wrong = [said for _, said in mistakes(mapping)] + [said for level, said in missing if level == "fail"]
    return None if wrong else mapping, wrong, [said for level, said in missing if level == "warn"]


def _shown(col: Column, value: Any, zone: str) -> str:
    if col.field.is_personal:
        return HIDDEN
    if isinstance(value, datetime):
        return value.astimezone(ZoneInfo(zone)).isoformat(sep=" ")
    return shown(str(value), col=col)
