"""``docs/benchmarks.md``: every benchmark with its command, what it compares, and what it kept; ``make pages`` writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks.records import RESULTS, SAME, Record, kept, newest, size, title
from report.catalogue_page import HEAD, table_lines

REPOSITORY = Path(__file__).parents[1]
PAGE = "docs/benchmarks.md"
NAMES = (
    "first_build",
    "ingest",
    "day",
    "preview",
    "portal_load",
    "builder",
    "skew",
    "profile",
    "tags",
    "many_facts",
    "identity",
    "fission",
    "scale",
    "chart_libraries",
)
"""Modules that are commands, what a shop does first."""
TARGETS = {
    "first_build": "make bench-build",
    "ingest": "make bench-ingest",
    "day": "make bench-day",
    "skew": "make bench-skew",
    "profile": "make bench-facts",
}
COMMAND = re.compile(r"``(python -m benchmarks\.[^`]+)``")


def benchmarks_page(results: Path = RESULTS) -> str:
    """The page; figures are the last record of each size."""
    lines = [
        "# Benchmarks 性能对比",
        "",
        HEAD,
        "`make bench` runs what is quick, in small; the others take minutes to an hour. Each target hands on "
        "`ARGS='--users 60000 --record'`; `--record` keeps the figures below and draws the chart anew, and a later run that "
        "is a quarter worse than what was kept for as many users, days and cores on the same engine ends with exit code 1. `load` is "
        "the machine's mean over the last minute of the run: above its cores, others had a part of them, and processor seconds say "
        "more than walls. How contestants were chosen and made fair: [benchmarks/README.md](../benchmarks/README.md).",
        "",
    ]
    rows = [[f"[{n}](#{n})", f"`{TARGETS[n]}`" if n in TARGETS else "", f"`{_command(n)}`"] for n in NAMES]
    lines += table_lines(["benchmark", "target", "command"], rows)
    for name in NAMES:
        lines += ["", f"## {name}", "", *_said(name)]
        records = newest(kept(name, results))
        if records:
            lines += ["", *_figures(records), "", f"![{name}](../benchmarks/results/{name}.svg)"]
    return "\n".join(lines) + "\n"


def _said(name: str) -> Iterable[str]:
    """What its module says of it, without the command."""
    text = COMMAND.sub("", import_module(f"benchmarks.{name}").__doc__ or "").strip()
    text = re.sub(r":?\s+(and\s+)*\.", ".", text).replace("``", "`")
    return text.splitlines()


def _command(name: str) -> str:
    found = COMMAND.search(import_module(f"benchmarks.{name}").__doc__ or "")
    assert found, f"benchmarks/{name}.py does not say its command"
    return found[1]


def _figures(records: list[Record]) -> list[str]:
    """A column a record, a row a figure."""
    keys = list(dict.fromkeys(k for r in reversed(records) for k in r if k not in SAME))
    head = ["", *(title(size(r)) for r in records)]
    return list(table_lines(head, [[k.replace("_", " "), *(_cell(r.get(k)) for r in records)] for k in keys]))


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} ({_cell(v)})" if isinstance(v, dict) else f"{k} {_cell(v)}" for k, v in value.items())
    if isinstance(value, list):
        return " then ".join(map(_cell, value))
    return f"{value:,}" if isinstance(value, int | float) else "" if value is None else str(value)


def main() -> None:
    (REPOSITORY / PAGE).write_text(benchmarks_page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
