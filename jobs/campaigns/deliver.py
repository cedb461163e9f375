"""Step ``campaign deliver``: the files of a stage for a platform, one per audience and arm, without who is held out.

Whoever is in the audiences and has no arm yet gets one first, so nobody leaves who was not assigned before. A person is
spoken to once: by the first of the stage's audiences that they are in, and, where stages share days, by the one that
goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from audiences.funnel import ANOTHER_ARM, HELD_OUT_OF_IT, NO_ARM, SPOKEN_TO
from campaigns.language import ABOVE, HELD_OUT, STAGES, Campaign, StageName
from jobs.audiences.export import Exported, Portion, export, published_members
from jobs.audiences.step import build
from jobs.campaigns.assign import Assigned, assign_arms
from jobs.campaigns.assigned import assigned_inputs, people_of
from lake.engine import Engine, Progress
from lake.lake import Lake
from lake.releases import Release, release
from project.campaign import campaign_of
from project.folder import Project
from schemas.configuration import nearest
from schemas.errors import HuaxiangError, UsageError


@dataclass(frozen=True)
class DeliveredStage:
    """What left for a stage: a delivery per audience and arm. ``held_out`` people of its audiences get nothing."""

    campaign: str
    stage: StageName
    platform: str
    release: int
    as_of: date
    assigned: Assigned
    deliveries: tuple[Exported, ...]
    held_out: int


def deliver_stage(
    project: Project,
    name: str,
    *,
    to: str,
    requested_by: str,
    stage: str | None = None,
    which: int | str | None = None,
    folder: Path | None = None,
    again: bool = False,
    full: bool = False,
    force: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> DeliveredStage:
    """Deliver a stage's audiences by arm; ``stage`` absent: the first that is not over on the release's day.

    What was delivered of the same release before is named and not written again, as ``jobs.audiences.export`` has it.
    """
    campaign, at = campaign_of(project, name), release(project.lake, which)
    chosen = _stage(campaign, stage, at.as_of)
    assigned = assign_arms(project, name, which=at.number, stages=[chosen], engine=engine, progress=progress)
    arms = _Arms.read(project.lake, at, campaign.id)

    def people(audience: str) -> np.ndarray:
        build(project, audience, which=at.number, requested_by=requested_by, engine=engine, progress=progress)
        return np.asarray(published_members(project.lake, audience, at).to_numpy(zero_copy_only=False))

    spoken = _united(
        [people(a) for s in _before_it(campaign, chosen) for a in getattr(campaign.definition.stages, s).audiences]
    )
    definition = getattr(campaign.definition.stages, chosen)
    found, held = [], np.empty(0, np.int64)
    for audience in definition.audiences:
        inside = people(audience)
        content = definition.content[audience].model_dump(mode="json")
        for arm in (n for n, w in campaign.definition.weights.items() if w and n != HELD_OUT):
            portion = Portion(campaign.id, chosen, arm, content, campaign.hash, arms.only(arm, spoken))
            found.append(
                export(
                    project,
                    audience,
                    to=to,
                    portion=portion,
                    which=at.number,
                    folder=folder,
                    again=again,
                    full=full,
                    force=force,
                    requested_by=requested_by,
                    engine=engine,
                    progress=progress,
                )
            )
        held = _united([held, inside[arms.held_out(inside)]])
        spoken = _united([spoken, inside])
    return DeliveredStage(campaign.id, chosen, to, at.number, at.as_of, assigned, tuple(found), len(held))


def _stage(campaign: Campaign, wanted: str | None, as_of: date) -> StageName:
    d = campaign.definition
    if wanted is not None:
        for stage in d.in_turn:
            if stage == wanted:
                return stage
        raise UsageError(f"campaign {campaign.id!r} has no stage {wanted!r}; {nearest(wanted, list(d.in_turn))}")
    ahead = sorted((d.days(s), s) for s in d.in_turn if d.days(s)[1] > as_of)
    if not ahead:
        raise HuaxiangError(
            f"campaign {campaign.id!r} is over: its last day is {d.last_day}, and the release is of {as_of}; a stage that "
            f"is named with --stage ({', '.join(s for s in STAGES if s in d.in_turn)}) is delivered all the same"
        )
    return ahead[0][1]


def _before_it(campaign: Campaign, stage: StageName) -> list[StageName]:
    """Stages that share a day with this one and go first with somebody whom both want."""
    d = campaign.definition
    first, last = d.days(stage)
    ahead = d.in_turn[: d.in_turn.index(stage)]
    return [s for s in ahead if d.days(s)[0] <= last and first <= d.days(s)[1]]


def _united(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))


@dataclass(frozen=True)
class _Arms:
    """Who has which arm: uids ascending, the number of each one's arm among ``names``."""

    uid: np.ndarray
    number: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def read(cls, lake: Lake, at: Release, campaign: str) -> _Arms:
        """A bucket at a time: ten bytes a person stay in memory."""
        names: dict[str, int] = {}
        uids, numbers = [np.empty(0, np.int64)], [np.empty(0, np.int16)]
        with TemporaryDirectory(prefix="huaxiang-") as scratch:
            for _, item in sorted(assigned_inputs(lake, at, campaign, Path(scratch)).items()):
                holders = people_of(item)
                arms = holders.rows["arm"].combine_chunks().dictionary_encode()
                known = np.array([names.setdefault(n, len(names)) for n in arms.dictionary.to_pylist()], np.int16)
                uids.append(holders.uid)
                numbers.append(known[arms.indices.to_numpy(zero_copy_only=False)] if len(arms) else numbers[0])
        return cls(np.concatenate(uids), np.concatenate(numbers), tuple(names))

    def of(self, uid: np.ndarray) -> np.ndarray:
        """The number of everybody's arm; -1 without."""
        place = np.searchsorted(self.uid, uid)
        found = np.full(len(uid), -1, np.int16)
        there = place < len(self.uid)
        there[there] = self.uid[place[there]] == uid[there]
        found[there] = self.number[place[there]]
        return found

    def held_out(self, uid: np.ndarray) -> np.ndarray:
        """Who gets nothing, of this campaign or of any."""
        nobody = [i for i, name in enumerate(self.names) if name in (HELD_OUT, ABOVE)]
        return np.isin(self.of(uid), nobody)

    def only(self, arm: str, spoken: np.ndarray) -> Callable[[np.ndarray], tuple[np.ndarray, dict[str, int]]]:
        """Those of an arm whom nobody else has spoken to, and why the others are not among them: the first reason counts."""

        def keep(uid: np.ndarray) -> tuple[np.ndarray, dict[str, int]]:
            number = self.of(uid)
            left = np.ones(len(uid), np.bool_)
            apart = {}
            for reason, out in (
                (HELD_OUT_OF_IT, self.held_out(uid)),
                (NO_ARM, number < 0),
                (SPOKEN_TO, np.isin(uid, spoken, assume_unique=True)),
                (ANOTHER_ARM, number != (self.names.index(arm) if arm in self.names else -2)),
            ):
                apart[reason] = int(np.count_nonzero(left & out))
                left &= ~out
            return uid[left], apart

        return keep
