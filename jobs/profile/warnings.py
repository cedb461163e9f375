"""What a run says of the quality of its tags, in a few lines: what moved, what the feeds brought, what is held or no more."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

from features.quality import NO_REFERENCE, causes
from jobs.profile.feed_rows import FeedRows, feed_rows
from jobs.profile.quality import Held, Past, Row, broken_rows
from jobs.profile.run import ProfileRun

if TYPE_CHECKING:
    from project.frozen import Frozen

MOST_NAMED = 3
"""Tags that a line names; the report and `huaxiang status` have them all."""


def warnings_of(run: ProfileRun, past: Past, held: Held, found: Frozen, rows: Sequence[Row]) -> list[str]:
    """Lines for the person who runs it; ``rows`` are those of ``profile.tag_quality``."""
    return [
        *_held(run, past, held),
        *_made_while_held(run, held, found),
        *_released(run, past, held, found),
        *_moved(run, past, held, rows),
    ]


def feeds_of_broken(run: ProfileRun, past: Past, rows: Sequence[Row]) -> list[FeedRows]:
    """Feeds of tags that moved too far which brought unusually few or many rows since the run before.

    That a silent feed brought few is said by its silence.
    """
    act = broken_rows(rows, "act", run.quality.min_users)
    if not act or past.last_day is None:
        return []
    feeds = sorted({f for r in act for f in run.catalogue.tags[r["tag"]].sources})
    days = run.quality.history_days
    counted = feed_rows(run.lake, feeds, past.last_day, run.as_of, history_days=days, known_at=run.known_at)
    return [
        f for f in counted if (off := f.off(run.quality.feed_short)) and (off == "long" or f.feed not in run.silent)
    ]


def _moved(run: ProfileRun, past: Past, held: Held, rows: Sequence[Row]) -> list[str]:
    least = run.quality.min_users
    act = broken_rows(rows, "act", least)
    lines = []
    if act:
        names = list(dict.fromkeys(r["tag"] for r in act))
        roots = causes(run.catalogue, names, held.since) or names
        told = [_figures(next(r for r in act if r["tag"] == n)) for n in roots[:MOST_NAMED]]
        more = [
            f"{n:,} {what}"
            for n, what in ((len(roots) - len(told), "more"), (len(names) - len(roots), "made from them"))
            if n
        ]
        lines.append(
            f"{_tags(len(names))} moved further since {past.last_day} than usual: {', '.join(told)}"
            f"{' and ' + ' and '.join(more) if more else ''}. They are published as they come; "
            f"`huaxiang tag show {roots[0]}` and the report say more"
        )
        for f in feeds_of_broken(run, past, rows):
            theirs = sum(f.feed in run.catalogue.tags[n].sources for n in names)
            lines.append(
                f"{_rows_in_words(f, past.last_day, run.as_of)}; {theirs:,} of the tags that moved come from it"
            )
    unjudged = {r["tag"] for r in broken_rows(rows, NO_REFERENCE, least)}
    if unjudged and past.last_day is not None:
        step = (run.as_of - past.last_day).days
        apart = "a day apart" if step == 1 else f"{step} days apart"
        lines.append(
            f"{_tags(len(unjudged))} moved since {past.last_day} and cannot be judged: no reference yet, how far they "
            f"usually move is known after {run.quality.min_runs} runs that lie {apart}"
        )
    return lines


def _figures(row: Row) -> str:
    usual = "" if row["psi_usual"] is None else f", usually up to {row['psi_usual']:.2f}"
    why = "coverage; " if row["verdict_cause"] == "coverage" else ""
    return f"{row['tag']} ({why}PSI {row['psi']:.2f}{usual})"


def _rows_in_words(f: FeedRows, since: dt.date | None, until: dt.date) -> str:
    assert since is not None
    one = (until - since).days == 1
    when = f"on {until}" if one else f"a day from {since + dt.timedelta(days=1)} to {until}"
    return f"feed {f.feed} brought {f.rows:,.0f} rows {when}, usually {f.usual:,.0f}"


def _held(run: ProfileRun, past: Past, held: Held) -> list[str]:
    if not held.since:
        return []
    marked = set(run.catalogue.held_by(held.since)) - set(held.since)
    schemes = [s for s in run.catalogue.schemes if s in marked]
    made = (
        f" {_tags(len(marked))} {_are(len(marked))} made from {'it' if len(held.since) == 1 else 'them'}"
        if marked
        else ""
    )
    made += f", among them the segmentations {', '.join(schemes)}" if schemes else ""
    listed = "; ".join(
        f"{n} since {day} with the values of {past.good[n].day}: {held.reasons[n]}" for n, day in held.since.items()
    )
    accept = next(iter(held.since)) if len(held.since) == 1 else "--all"
    return [
        f"{_tags(len(held.since))} {_are(len(held.since))} held by the owner's wish (on_break: hold): {listed}."
        f"{made}{'.' if made else ''} `huaxiang tag accept {accept}` accepts the new level from the next run on"
    ]


def _made_while_held(run: ProfileRun, held: Held, found: Frozen) -> list[str]:
    """Kept numbers and models that this run made itself, from values that are held."""
    passing = run.catalogue.made_from(held.since)
    made = [
        n for n, b in run.catalogue.breaks.items() if b.spec.keep and n in found.numbers and n not in found.fitted_on
    ]
    names = [n for n in made if ("break", n) in passing]
    names += [n for n, card in found.cards.items() if ("model", n) in passing and card["version"] == str(run.as_of)]
    if not names:
        return []
    return [
        f"made from held values and for this day only: {', '.join(names)}; later runs go by what was kept before, or make "
        "them anew from published values"
    ]


def _released(run: ProfileRun, past: Past, held: Held, found: Frozen) -> list[str]:
    known = run.catalogue.tags
    were = {**past.held_before, **past.held_since}
    back = {n: day for n, day in sorted(were.items()) if n in known and n not in held.since}
    if not back:
        return []
    listed = ", ".join(f"{n} (held since {day})" for n, day in back.items())
    by_default = [n for n in back if run.catalogue.tags[n].on_break != "hold"]
    why = "; runs held such tags by default before, now only those that say on_break: hold" if by_default else ""
    lines = [f"{_tags(len(back))} {_are(len(back))} published again: {listed}{why}"]
    below = run.catalogue.made_from(back)
    fitted = [
        n
        for n, day in found.fitted_on.items()
        if ("break", n) in below and any(day >= since for since in back.values())
    ]
    fitted += [
        n
        for n, card in found.cards.items()
        if ("model", n) in below and n not in found.fitted and any(card["version"] >= str(d) for d in back.values())
    ]
    if fitted:
        lines.append(
            f"numbers and models that are kept were made from held values: {', '.join(fitted)}; make them anew: "
            f"`huaxiang run --as-of {run.as_of} {' '.join(f'--refit {n}' for n in fitted)}`"
        )
    return lines


def _tags(n: int) -> str:
    return "1 tag" if n == 1 else f"{n:,} tags"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
