"""``huaxiang report``: the segment report of a release as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.session import HERE, AsOfOption, JsonOption, ProjectOption, open_project, show_json, target_file, verb
from report.page import report as report_step
from schemas.errors import UsageError


@verb
def report(
    as_of: AsOfOption = None,
    release: Annotated[
        str | None, typer.Option("--release", help="Release number; default: the newest of the day.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="File; default: exports/report-DAY.html.")] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language that the page opens in: zh or en.")] = "zh",
    project: ProjectOption = HERE,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML page: digital tags, RFM, distribution and needs, flows, curves, alerts."""
    if lang not in ("zh", "en"):
        raise UsageError(f"--lang is zh or en, not {lang!r}")
    day = None if as_of is None else as_of.date()
    out = target_file(out, "--out")
    made = report_step(open_project(project), as_of=day, number=release, out=out, lang=lang)  # type: ignore[arg-type]
    if as_json:
        show_json(made)
        return
    print(
        f"Report of {made.as_of} (release {made.release}): {made.charts} charts, {made.bytes / 1e6:.1f} MB, "
        f"{made.seconds:.1f} s\n  {made.file}"
    )
