"""Whatever page or section the project cites is in the project."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_architecture import ROOT, files

PAGE = re.compile(r"(?<![\w/.-])((?:docs/|decisions/|\.\./)*[\w-]+(?:/[\w-]+)*\.md)\b")
SECTIONS = re.compile(r"definitions(\.md)?,? sections? (\d+(?:(?:, | and )\d+)*)")
HEADING = re.compile(r"^## (\d+)\. ", re.MULTILINE)
READ = {".py", ".yaml", ".md", ".cfg"}


def texts() -> Iterator[tuple[Path, str]]:
    for path in files():
        if path.suffix in READ and path.name not in ("template.md", Path(__file__).name):
            # A citation may run over the end of a line.
            yield path, re.sub(r"\s*\n\s*#?\s*", " ", path.read_text(encoding="utf-8"))


def test_every_cited_section_of_the_definitions_is_there() -> None:
    headings = set(HEADING.findall((ROOT / "docs" / "definitions.md").read_text(encoding="utf-8")))
    cited = [(path, n) for path, text in texts() for m in SECTIONS.finditer(text) for n in re.findall(r"\d+", m[2])]
    assert len(cited) > 40
    assert [f"{path.relative_to(ROOT)}: section {n}" for path, n in cited if n not in headings] == []


def test_every_cited_page_is_there() -> None:
    places = (ROOT, ROOT / "docs", ROOT / "docs" / "decisions", ROOT / "benchmarks")
    wrong = [
        f"{path.relative_to(ROOT)} cites {name}"
        for path, text in texts()
        for name in PAGE.findall(text)
        if not any((place / name).is_file() for place in (path.parent, *places))
    ]
    assert wrong == []
