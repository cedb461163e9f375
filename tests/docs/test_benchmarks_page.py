"""docs/benchmarks.md is what the benchmarks say and kept, and each file of results has its chart."""

from __future__ import annotations

import ast

from benchmarks.page import NAMES, PAGE, REPOSITORY, benchmarks_page
from benchmarks.records import RESULTS

NO_BENCHMARKS = {"charts", "ours", "in_duckdb", "in_polars"}
"""What draws, and the contestants that `benchmarks.profile` calls."""


def test_the_page_of_benchmarks_is_not_stale() -> None:
    assert (REPOSITORY / PAGE).read_text(encoding="utf-8") == benchmarks_page(), "run: make pages"


def test_every_command_of_the_folder_is_on_the_page() -> None:
    said = {
        path.stem
        for path in (REPOSITORY / "benchmarks").glob("*.py")
        if f"``python -m benchmarks.{path.stem}" in (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "")
    }
    assert said - NO_BENCHMARKS == set(NAMES)


def test_every_file_of_results_has_its_chart() -> None:
    files = sorted(RESULTS.glob("*.json"))
    assert files
    assert [f.name for f in files if not f.with_suffix(".svg").is_file()] == []
