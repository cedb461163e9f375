"""A definition that nobody saved yet: what is wrong with it, how many people it would hold block by block, and how it reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from audiences.bits import Bits, how_many
from audiences.compiler import compile_audience
from audiences.language import Audience, read_text
from audiences.plan import Plan
from audiences.tally import FunnelStep
from audiences.wording import with_all_below
from project.attributes import attributes
from project.audience import held_notes, switched_off_notes, with_elders
from project.folder import Project
from project.held import Marks
from queries.preview import ReleaseColumns
from schemas.configuration import Words
from schemas.errors import ConfigurationError

NEW = "new_audience"
"""What a definition is called by errors before it has a name."""
SAID = re.compile(r"(?P<path>[^\n]*?\.yaml):(?:(?P<line>\d+): )?(?P<rest>.*)", re.DOTALL)
PLACED = re.compile(r"(?P<place>[a-z_]+(?:\.[A-Za-z0-9_]+)*): (?P<said>.*)", re.DOTALL)
QUOTED = re.compile(r"(?:unknown key )?'(?P<place>[a-z_]+(?:\.[A-Za-z0-9_]+)*)'(?P<said>[ ;].*)", re.DOTALL)


@dataclass(frozen=True)
class Mistaken:
    """One thing that cannot be meant: its line, the part of the definition (dotted; empty: the whole), and what is said."""

    line: int | None
    place: str
    said: str


@dataclass(frozen=True)
class DraftCounts:
    """Who a draft holds at a release. ``steps`` are by place, those of the draft's own conditions only.

    ``sentence`` is the whole definition in words.
    """

    release: int
    as_of: date
    base_users: int
    users: int
    members: int
    steps: Mapping[str, FunnelStep]
    sentence: Words
    warnings: tuple[str, ...]
    people: Bits

    @property
    def visitors(self) -> int:
        return self.users - self.members

    @property
    def share(self) -> float:
        return self.users / self.base_users if self.base_users else 0.0


def draft_path(project: Project, name: str) -> Path:
    """Where the audience of that name lies, or would."""
    return project.folder / "audiences" / f"{name or NEW}.yaml"


def read_draft(project: Project, name: str, text: str) -> tuple[Audience | None, list[Mistaken]]:
    """The draft as an audience of the project, or what is wrong with it."""
    try:
        audience = read_text(text, draft_path(project, name))
        draft_plan(project, audience)
    except ConfigurationError as e:
        return None, mistakes_in(str(e))
    return audience, []


def draft_plan(project: Project, audience: Audience) -> Plan:
    """The draft compiled among the project's other audiences."""
    return compile_audience(audience, project.audiences, attributes(project.catalogue), currency=project.currency)


def mistakes_in(said: str) -> list[Mistaken]:
    """An error of the language, line by line, by the part of the definition that it is about."""
    found = []
    for one in said.split("\n"):
        where = SAID.fullmatch(one)
        if where is None:
            found.append(Mistaken(None, "", one))
            continue
        line, rest = where["line"], where["rest"]
        placed = PLACED.fullmatch(rest) or QUOTED.fullmatch(rest)
        place = placed["place"] if placed else ""
        found.append(
            Mistaken(int(line) if line else None, place, rest if placed is None or rest[0] in "'u" else placed["said"])
        )
    return found


def draft_counts(
    project: Project, columns: ReleaseColumns, audience: Audience, marks: Marks | None = None
) -> DraftCounts:
    """People of a draft at the release of ``columns``; ``marks`` of held tags are that release's, where they are known.

    Nothing is written but columns that the next question finds ready.
    """
    plan = with_elders(project.lake, columns.at, draft_plan(project, audience))
    tally, names = columns.judged(plan)
    own = f"{audience.id}: "
    steps = {s.place.removeprefix(own): s for s in tally.steps if ": " not in s.place}
    return DraftCounts(
        release=columns.at.number,
        as_of=columns.at.as_of,
        base_users=tally.users,
        users=how_many(tally.members),
        members=how_many(tally.members & columns.members()),
        steps=steps,
        sentence=one_sentence(plan),
        warnings=(*switched_off_notes(audience), *held_notes(project, audience, plan, columns.at, marks), *names),
        people=tally.members,
    )


def one_sentence(plan: Plan) -> Words:
    """A whole definition as one sentence."""
    include = with_all_below(plan.root.include)
    zh, en = _bare(include.zh, "（", "）"), _bare(include.en, "(", ")")
    if plan.root.exclude is not None:
        exclude = with_all_below(plan.root.exclude)
        zh += f"；排除：{_bare(exclude.zh, '（', '）')}"
        en += f"; without those who: {_bare(exclude.en, '(', ')')}"
    return Words(zh=f"{zh}。", en=f"{en}.")


def _bare(text: str, opened: str, closed: str) -> str:
    """Without brackets round the whole."""
    if not (text.startswith(opened) and text.endswith(closed)):
        return text
    depth = 0
    for i, sign in enumerate(text):
        depth += (sign == opened) - (sign == closed)
        if not depth and i < len(text) - 1:
            return text
    return text[1:-1]
