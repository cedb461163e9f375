"""Drafts of the exports that shops really have: what is right, what is a guess that says so, and nothing that is wrong.

Each file of ``exports/`` holds a made-up export of a well-known kind, and what a draft may make of it, written by hand
from what the columns mean. A field may come from the columns that are named; a name that ends in ``?`` need not be found.
A rule on any other column is wrong, commented out or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.drafting import Draft, draft
from cli.drafting.forms import is_money
from features.cleaning_texts import is_id
from features.sources import Mapping, mistakes, shortfalls
from schemas.contracts import contract

# What stands for people in the made-up exports.
PEOPLE = (
    r"1[38]\d000000\d\d|138\*+\d+|[ab]@example\.com|[ou]TEST\d+",
    r"测试[一二三]|买家[甲乙丙]|昵称[甲乙]|示例[路街]\d",
    r"Test [AB]\b|\d Test St|anon-\d|\bu7\b",
)
Drafted = Callable[[str], tuple[dict[str, Any], Draft]]
EXPORTS = sorted((Path(__file__).parent / "exports").glob("*.yaml"))


@dataclass
class Tally:
    """Fields of one export by what became of them."""

    right: list[str] = field(default_factory=list)
    guessed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)


def written(folder: Path, name: str) -> tuple[dict[str, Any], Path]:
    """An export's description, and its file as the shop would have it."""
    said = yaml.safe_load((Path(__file__).parent / "exports" / f"{name}.yaml").read_text(encoding="utf-8"))
    file = folder / said["file"]
    file.write_bytes(said["content"].encode(said.get("encoding", "utf-8")))
    return said, file


@pytest.fixture(scope="module")
def drafted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[dict[str, Any], Draft]]:
    """The description of an export, and its draft, made once."""

    @cache
    def of(name: str) -> tuple[dict[str, Any], Draft]:
        said, file = written(tmp_path_factory.mktemp(name), name)
        return said, draft(file)

    return of


def rule_as_text(rule: Any) -> str:
    if isinstance(rule, str):
        return rule
    text = str(rule.get("column", rule.get("constant", " + ".join(rule.get("join", rule.get("sum", []))))))
    text += f" * {rule['times']}" if "times" in rule else ""
    return text + "".join(f" - {c}" for c in rule.get("minus", []))


def judged(said: dict[str, Any], found: Draft) -> Tally:
    tally = Tally()
    expected = {f.rstrip("?"): fields for f, fields in said["expected"].items()}
    needed = {f for f in said["expected"] if not f.endswith("?")}
    parts = {p.feed: p for p in found.parts}
    tally.wrong += [f"feed {f}" for f in parts if f not in expected]
    tally.missed += [f"feed {f}" for f in needed if f not in parts]
    for feed, part in parts.items():
        wanted = {n.rstrip("?"): [w] if isinstance(w, str) else w for n, w in expected.get(feed, {}).items()}
        optional = {n.rstrip("?") for n in expected.get(feed, {}) if n.endswith("?")}
        lines = {line.field: line for line in part.lines if line.rule is not None}
        for name, line in lines.items():
            text, place = rule_as_text(line.rule), f"{feed}.{name}"
            if "constant" in (line.rule if isinstance(line.rule, dict) else {}):
                continue
            if text not in wanted.get(name, []):
                tally.wrong.append(f"{place} <- {text}")
            else:
                (tally.right if line.standing == "sure" else tally.guessed).append(f"{place} <- {text}")
        tally.missed += [f"{feed}.{n}" for n in wanted if n not in optional and n not in lines]
    return tally


@pytest.mark.parametrize("name", [p.stem for p in EXPORTS])
def test_nothing_in_a_draft_of_a_known_export_is_wrong(name: str, drafted: Drafted) -> None:
    said, found = drafted(name)
    tally = judged(said, found)
    assert found.is_sure or said["feed"] in [*(p.feed for p in found.parts), *(g.feed for g in found.nearest)]
    assert tally.wrong == []
    assert_read_as_said(said, found)


def assert_read_as_said(said: dict[str, Any], found: Draft) -> None:
    """How the file and its times are read, where the export's description says so."""
    for part in found.parts:
        content = yaml.safe_load(part.mapping)
        assert content.get("delimiter", ",") == said.get("delimiter", ",")
        assert content["encoding"] == said.get("encoding", "utf-8")
        assert content.get("skip_rows", 0) == said.get("skip_rows", 0)
        assert content.get("decimal", ".") == said.get("decimal", ".")
        assert content.get("header", True) is not said.get("headerless", False)
        lines = {line.field: line for line in part.lines}
        for name, form in said.get("times", {}).items():
            assert lines[name].rule["time"] == form and lines[name].active
        for name in said.get("asked", []):
            assert not lines[name].active and "asked" in lines[name].comment
        if part.feed in said.get("where", {}):
            (condition,) = content["where"]
            assert condition["column"] in said["where"][part.feed] and condition["is_empty"] is False


@pytest.mark.parametrize("name", [p.stem for p in EXPORTS])
def test_the_draft_of_a_known_export_loads_or_says_what_it_lacks(name: str, drafted: Drafted) -> None:
    _, found = drafted(name)
    for part in found.parts:
        content = yaml.safe_load(part.mapping)
        active = {line.field for line in part.lines if line.active}
        assert set(content["fields"] or {}) == active
        lacking = len(part.preview.incomplete)
        if active:
            mapping = Mapping.model_validate(content)
            lacking = len(list(mistakes(mapping))) + sum(level == "fail" for level, _ in shortfalls(mapping))
        assert lacking == len(part.preview.incomplete)
        assert not part.missing or part.preview.incomplete


@pytest.mark.parametrize("name", [p.stem for p in EXPORTS])
def test_a_guess_of_an_id_or_of_money_is_commented_out_and_says_why(name: str, drafted: Drafted) -> None:
    _, found = drafted(name)
    for part in found.parts:
        c = contract(f"silver.{part.feed}")
        for line in part.lines:
            assert line.standing == "sure" or line.comment
            if line.standing == "guess" and (is_id(c.column(line.field)) or is_money(c.column(line.field))):
                assert not line.active


@pytest.mark.parametrize("name", [p.stem for p in EXPORTS])
def test_no_person_shows_in_a_draft(name: str, drafted: Drafted) -> None:
    said, found = drafted(name)
    text = found.text()
    personal = "|".join(PEOPLE)
    assert re.findall(personal, text) == []
    dates = re.findall(r"202[56]-\d\d-\d\d", said["content"])
    tried = any(p.preview.rows for p in found.parts)
    assert not dates or not tried or re.search(r"20[12]\d-\d\d-\d\d", text), "dates are not masked"


def test_the_table_of_drafts(drafted: Drafted, capsys: pytest.CaptureFixture[str]) -> None:
    """Prints right, guessed, wrong and missed of every export (``pytest -s``)."""
    rows = [(path.stem, judged(*drafted(path.stem))) for path in EXPORTS]
    with capsys.disabled():
        print(f"\n{'':24} right guessed wrong missed")
        for name, t in rows:
            print(
                f"{name:24} {len(t.right):5} {len(t.guessed):7} {len(t.wrong):5} {len(t.missed):6}  {'; '.join(t.wrong + ['missed ' + m for m in t.missed])}"
            )
        total = [sum(len(getattr(t, k)) for _, t in rows) for k in ("right", "guessed", "wrong", "missed")]
        print(f"{len(rows):2} exports: right {total[0]}, guessed {total[1]}, wrong {total[2]}, missed {total[3]}")
    assert total[2] == 0
