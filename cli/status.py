"""``huaxiang status``: what came, what was refused, what is released, what is being written."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from cli.session import HERE, JsonOption, ProjectOption, open_project, show_json, show_table, verb
from lake.spans import PARTS
from project.held import held_in_words
from project.inbox import unfinished_in_words
from queries.status import status as status_step
from queries.timing import timing as timing_of

MOST_GAPS = 10
SHOWN_OF_STEPS = {
    "step": "step",
    "seconds": "seconds",
    **{kind: f"{kind}_seconds" for kind in (*PARTS, "rest")},
    **{name: f"workers_{name}_seconds" for name in ("read", "compute", "write")},
    "rows in": "rows_in",
    "rows out": "rows_out",
    "peak MiB": "peak_memory_mb",
    "main MiB": "main_memory_mb",
    "spilled MiB": "spilled_mb",
}
"""Columns of a step's timing by what a person is shown; ``frames`` to ``rest`` add up to ``seconds``."""


@verb
def status(
    project: ProjectOption = HERE,
    warnings: Annotated[bool, typer.Option("--warnings", help="List every warning of the newest run.")] = False,
    timing: Annotated[
        bool, typer.Option("--timing", help="Where the time of the newest run went, and its memory.")
    ] = False,
    runs: Annotated[int, typer.Option(min=1, help="Of as many runs, with --timing.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Refused files, feeds with lateness and conservation, quarantine, releases, last steps.

    Ends with 0 whatever it finds: it is `ingest` and `demo` that end with 4 while a file is refused.
    """
    p = open_project(project)
    if timing:
        _show_timing(timing_of(p, runs), as_json)
        return
    found = status_step(p)
    if as_json:
        show_json(found)
        return
    for r in found["refused"]:
        print(
            f"REFUSED {r['file']} ({r['feed']}, since {r['since'].astimezone(p.zone_info):%Y-%m-%d %H:%M}): {r['why']}"
        )
    if found["refused"]:
        print(f"{len(found['refused'])} refused files: mend and ingest them, or `huaxiang ingest --dismiss FILE`\n")
    for silent in found["silent"]:
        print(f"SILENT {silent}")
    if found["unmatched"]:
        shown = ", ".join(found["unmatched"][:MOST_GAPS])
        further = len(found["unmatched"]) - MOST_GAPS
        shown += f" and {further:,} more" if further > 0 else ""
        print(f"{len(found['unmatched']):,} files of the inbox that no mapping names: {shown}")
    for held in found["held"]:
        who = "another process" if held["process"] is None else f"process {held['process']}"
        where = f" on {held['host']}" if held["host"] else ""
        since = f" since {held['since']}" if held["since"] else ""
        print(f"{held['table']} is held by {who}{where}{since}: it is being written.")
    if found["unfinished"]:
        print(unfinished_in_words(found["unfinished"], MOST_GAPS))
    if found["feeds"]:
        show_table("Feeds (rows read = silver + duplicates + quarantined + not selected)", found["feeds"])
    else:
        print("Nothing has been taken yet: put files into the inbox and run `huaxiang ingest`.")
    for q in found["quarantine"]:
        print(
            f"{q['waiting']:,} rows of {q['feed']} wait in quarantine: "
            f'`huaxiang sql "select reasons, count(*) from quarantine.{q["feed"]} group by 1"`, '
            f"mend sources/{q['source']}.yaml, then `huaxiang ingest {q['feed']} --replay`"
        )
    if found["latest"] is not None:
        print(f"Releases: {found['releases']}, latest {_release_in_words(found['latest'])}")
    for line in _quality_in_words(found["quality"]):
        print(line)
    for a in found["audiences"] or ():
        print(f"{'STALE ' if a['in_use'] else ''}audience {a['audience']}: {a['why']}")
    if found["gaps"]:
        days = ", ".join(str(d) for d in found["gaps"][:MOST_GAPS])
        more = len(found["gaps"]) - MOST_GAPS
        days += f", … and {more:,} more" if more > 0 else ""
        print(f"Days never released: {days} (`huaxiang backfill --from DAY --to DAY`)")
    if found["runs"]:
        show_table('Last steps (all: `huaxiang sql "from ops.runs"`)', found["runs"])
    if warnings:
        for w in found["warnings"]:
            print(f"warning: {w}")
    if found["warnings"] and not warnings:
        print(f"The newest run warned {len(found['warnings']):,} times: `huaxiang status --warnings`")


def _show_timing(steps: list[dict[str, Any]], as_json: bool) -> None:
    """A table a run or ingest: seconds and their parts, the workers' seconds, rows, and memory in MiB; - is not known."""
    if as_json:
        show_json(steps)
        return
    if not steps:
        print("Nothing has been taken or run yet.")
    for run_id in dict.fromkeys(s["run_id"] for s in steps):
        mine = [s for s in steps if s["run_id"] == run_id]
        day = f" of {mine[0]['as_of']}" if mine[0]["as_of"] else ""
        show_table(f"{run_id}{day}, {mine[0]['engine']}", [{n: s[c] for n, c in SHOWN_OF_STEPS.items()} for s in mine])


def _quality_in_words(quality: dict[str, Any] | None) -> list[str]:
    """Nothing where all tags are stable; the report and `huaxiang tag show ID` have the figures."""
    if quality is None:
        return []
    words = {
        "act": "moved far further than usual",
        "watch": "moved further than usual",
        "no_reference": "moved and have no reference yet",
    }
    lines = [f"Tags that {what}: {_listed(quality[v])}" for v, what in words.items() if quality[v]]
    if quality["held"]:
        lines.append(f"HELD {held_in_words(quality['held'])}; `huaxiang tag accept ID` accepts the new level")
    if quality["made_from_held"]:
        lines.append(f"Tags made from held ones: {_listed(quality['made_from_held'])}")
    return lines


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_GAPS
    return f"{len(names):,} ({', '.join(names[:MOST_GAPS])}{f' and {more:,} more' if more > 0 else ''})"


def _release_in_words(latest_one: dict[str, Any]) -> str:
    counts = ", ".join(f"{n:,} {name}" for name, n in latest_one.items() if name not in ("number", "as_of", "refused"))
    without = ", ".join(f"{n:,} of {feed}" for feed, n in latest_one.get("refused", {}).items())
    counts += f"; made without refused files ({without})" if without else ""
    return f"{latest_one['number']} of {latest_one['as_of']}" + (f": {counts}" if counts else "")
