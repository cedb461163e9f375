"""The language of ``campaigns/*.yaml``: frozen models, read with file, line and the nearest known key.

A campaign has a goal, a D-day and up to four stages around it: 种草 seed, 长草 grow, 拔草 harvest, 养草 nurture. Days of
stages are counted from D-day (-15 is fifteen days before). Whether its audiences are there is judged by the project.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from campaigns.metrics import METRICS
from schemas.configuration import Settings, Words, each_read, line_of, nearest, one_named, read_yaml, validated
from schemas.errors import ConfigurationError

StageName = Literal["seed", "grow", "harvest", "nurture"]
Outcome = Literal["net_amount", "orders", "converted"]
OUTCOMES: dict[Outcome, tuple[str, str]] = {
    "net_amount": ("人均净成交额", "net money a user"),
    "orders": ("人均订单数", "orders a user"),
    "converted": ("转化率", "share of users who bought"),
}
"""What a user brought within the window, in both languages; all three are judged, one is the campaign's own."""
HELD_OUT = "holdout"
ABOVE = "global_holdout"
"""Arm of whom the shop holds out of every campaign: nobody's arm and no part of the comparison."""
NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True)
class StageKind:
    """What a stage is called, what it is for, and its days from D-day where a campaign names none."""

    zh: str
    en: str
    purpose_zh: str
    purpose_en: str
    first: int
    last: int


STAGES: dict[StageName, StageKind] = {
    "seed": StageKind(
        "种草", "Seed", "广泛触达，带来新的认知与兴趣", "reach widely: new awareness and interest", -30, -16
    ),
    "grow": StageKind("长草", "Grow", "深化兴趣：加购与收藏", "deepen: carts and favourites", -15, -1),
    "harvest": StageKind("拔草", "Harvest", "转化成交", "convert: orders and money", 0, 0),
    "nurture": StageKind("养草", "Nurture", "服务与复购", "serve, and bring back", 1, 30),
}
"""The stages in the order of their days."""


def _said(value: Words) -> Words:
    for language in ("zh", "en"):
        if not getattr(value, language).strip():
            raise ValueError(f"{language} is empty; say it in both languages")
    return value


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) or value is None else [value]


def _once(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value:
        raise ValueError("the list is empty")
    for one in value:
        if value.count(one) > 1:
            raise ValueError(f"{one!r} stands twice")
    return value


Said = Annotated[Words, AfterValidator(_said)]
Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_more), AfterValidator(_once)]


class Goal(Settings):
    """What is to be reached: money in main units of the lake's currency, or buying users."""

    money: Decimal | None = Field(default=None, gt=0)
    users: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> Goal:
        if (self.money is None) == (self.users is None):
            raise ValueError("a goal is either money or users; name one of them")
        return self


class Arm(Settings):
    """What a part of the people gets; ``weight`` is against the other arms'."""

    name: Said | None = None
    weight: float = Field(default=1.0, ge=0)


class Days(Settings):
    """First and last day of a stage, counted from D-day."""

    first: int = Field(ge=-365, le=365)
    last: int = Field(ge=-365, le=365)

    @model_validator(mode="after")
    def _in_order(self) -> Days:
        if self.first > self.last:
            raise ValueError(f"first {self.first} is after last {self.last}")
        return self


class StageTarget(Settings):
    """A metric and the number that it is to reach; money in main units."""

    metric: str
    target: Decimal = Field(gt=0)

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METRICS:
            raise ValueError(f"no metric {value!r}; {nearest(value, list(METRICS))}")
        return value


class CampaignStage(Settings):
    """Whom a stage speaks to, where, with what, for how much, and what tells whether it worked.

    ``priority`` says which of two stages that share a day goes first with somebody whom both want; the lower number does.
    """

    audiences: Names
    channels: Names
    content: dict[str, Said] = Field(default_factory=dict)
    budget: Decimal | None = Field(default=None, ge=0)
    metrics: tuple[StageTarget, ...] = ()
    days: Days | None = None
    priority: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _content_for_each(self) -> CampaignStage:
        for name in self.content:
            if name not in self.audiences:
                raise ValueError(
                    f"content is for {name!r}, no audience of this stage; {nearest(name, list(self.audiences))}"
                )
        lacking = [a for a in self.audiences if a not in self.content]
        if lacking:
            raise ValueError(f"audience {lacking[0]!r} has no content; add it under content")
        metrics = [m.metric for m in self.metrics]
        if twice := next((m for m in metrics if metrics.count(m) > 1), None):
            raise ValueError(f"metric {twice!r} stands twice")
        return self


class Stages(Settings):
    """The stages there are, at least one."""

    seed: CampaignStage | None = None
    grow: CampaignStage | None = None
    harvest: CampaignStage | None = None
    nurture: CampaignStage | None = None

    @model_validator(mode="after")
    def _some(self) -> Stages:
        if not self.there:
            raise ValueError(f"there is no stage; name one of {', '.join(STAGES)}")
        return self

    @property
    def there(self) -> tuple[tuple[StageName, CampaignStage], ...]:
        """The stages that are declared, with their names, in the order of days."""
        return tuple((n, found) for n in STAGES if (found := getattr(self, n)) is not None)


class CampaignDefinition(Settings):
    """One campaign. ``window_days`` after somebody's assignment their outcome is counted.

    ``holdout`` is the share of all people who get nothing, ``salt`` what parts them (absent: the campaign's id, so that
    nobody is held out of every campaign). ``smallest_lift`` (relative) is what a verdict must be able to see with
    ``power``; without it a verdict needs only the shop's least number of users of an arm.
    """

    name: Said
    description: Said
    owner: str = Field(min_length=1)
    goal: Goal
    d_day: date
    stages: Stages
    arms: dict[str, Arm] = Field(default_factory=lambda: {"message": Arm()})
    holdout: float = Field(ge=0, lt=1)
    salt: str | None = Field(default=None, min_length=1)
    outcome: Outcome = "net_amount"
    window_days: int = Field(default=30, ge=1, le=365)
    smallest_lift: float | None = Field(default=None, gt=0)
    power: float = Field(default=0.8, gt=0.5, lt=1)

    @field_validator("arms")
    @classmethod
    def _arms(cls, value: dict[str, Arm]) -> dict[str, Arm]:
        for name in value:
            if not NAME.fullmatch(name):
                raise ValueError(f"arm {name!r}: small letters, digits and _, beginning with a letter")
            if name in (HELD_OUT, ABOVE):
                raise ValueError(f"arm {name!r} is the name of who gets nothing; say `holdout:` how many they are")
        if not any(arm.weight for arm in value.values()):
            raise ValueError("no arm has a weight above 0, so nobody would get anything")
        return value

    @model_validator(mode="after")
    def _stages_in_turn(self) -> CampaignDefinition:
        for (one, a), (other, b) in combinations(self.stages.there, 2):
            (first, last), (start, end) = self.offsets(one), self.offsets(other)
            if (
                first <= end
                and start <= last
                and (a.priority is None or b.priority is None or a.priority == b.priority)
            ):
                raise ValueError(
                    f"stages {one} (D{first:+d} to D{last:+d}) and {other} (D{start:+d} to D{end:+d}) share days; give each "
                    "a priority of its own, or other days"
                )
        return self

    def offsets(self, stage: StageName) -> tuple[int, int]:
        """First and last day of a stage from D-day."""
        declared, kind = getattr(self.stages, stage).days, STAGES[stage]
        return (kind.first, kind.last) if declared is None else (declared.first, declared.last)

    def days(self, stage: StageName) -> tuple[date, date]:
        """First and last day of a stage."""
        first, last = self.offsets(stage)
        return self.d_day + timedelta(first), self.d_day + timedelta(last)

    @property
    def in_turn(self) -> list[StageName]:
        """Stages in the order in which they take people: by priority, then by days."""
        return [n for n, _ in sorted(self.stages.there, key=lambda s: (s[1].priority or 0, self.offsets(s[0])))]

    @property
    def weights(self) -> dict[str, float]:
        """Share of people by arm, held out included; sums to 1."""
        whole = sum(arm.weight for arm in self.arms.values())
        given = {n: (1 - self.holdout) * arm.weight / whole for n, arm in self.arms.items()}
        return {HELD_OUT: self.holdout, **given}

    @property
    def last_day(self) -> date:
        """The last day of its last stage."""
        return max(self.days(name)[1] for name, _ in self.stages.there)


@dataclass(frozen=True)
class Campaign:
    """A definition with where it was read. ``id`` is the file's name."""

    id: str
    path: Path
    definition: CampaignDefinition
    node: yaml.Node

    def at(self, place: tuple[Any, ...]) -> str:
        """``file:line`` of a part of the definition."""
        return f"{self.path}:{line_of(self.node, place)}"

    @cached_property
    def content(self) -> dict[str, Any]:
        """The whole definition as plain data, defaults written out."""
        plain: dict[str, Any] = self.definition.model_dump(mode="json", exclude_none=True, exclude={"stages"})
        stages = {n: s.model_dump(mode="json", exclude_none=True) for n, s in self.definition.stages.there}
        return plain | {"stages": stages}

    @property
    def hash(self) -> str:
        """SHA-256 of the definition."""
        plain = json.dumps([self.id, self.content], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def salt(self) -> str:
        """What parts its people."""
        return f"{self.id}/{self.definition.salt or self.id}"

    @property
    def audiences(self) -> tuple[str, ...]:
        """Audiences of all stages, each once, in the order in which stages take people."""
        named = (a for n in self.definition.in_turn for a in getattr(self.definition.stages, n).audiences)
        return tuple(dict.fromkeys(named))


class CampaignSettings(Settings):
    """``methods/campaigns.yaml``: what holds for every campaign of the shop.

    ``global_holdout`` of all people get nothing from any campaign; ``sequential_users`` of both arms are where the
    always-valid interval is narrowest. An arm of fewer users than ``min_arm_users`` gets no verdict.

    Of what is learnt at most ``false_share`` may be nothing; a value needs ``least_value_users`` held out and as many who
    got something, and a tag of more than ``most_values`` values is not looked at.

    The report tells of a campaign until ``report_days`` after its last day and window; its calendar shows all.
    At most ``most_pairs`` pairs of tags are looked at value by value.

    A goal (``plan --goal``) is held against the snapshot ``goal_days`` before, or one at most ``goal_tolerance_days`` off;
    what fewer than ``goal_min_users`` users did is marked.
    """

    global_holdout: float = Field(default=0.0, ge=0, lt=1)
    global_salt: str = "everybody"
    min_arm_users: int = Field(default=100, ge=2)
    sequential_users: int = Field(default=5_000, ge=2)
    half_life_days: float = Field(default=7.0, gt=0)
    false_share: float = Field(default=0.05, gt=0, lt=1)
    least_value_users: int = Field(default=50, ge=2)
    most_values: int = Field(default=40, ge=2)
    report_days: int = Field(default=90, ge=0)
    most_pairs: int = Field(default=45, ge=0)
    goal_days: int = Field(default=28, ge=1, le=365)
    goal_tolerance_days: int = Field(default=3, ge=0)
    goal_min_users: int = Field(default=30, ge=1)


def read_campaign(path: Path) -> Campaign:
    """One campaign from its file; ConfigurationError names file, line, key and the nearest known one."""
    if not NAME.fullmatch(path.stem):
        raise ConfigurationError(
            f"{path}: the file's name is the campaign's id: small letters, digits and _, beginning with a letter"
        )
    content, node = read_yaml(path)
    return Campaign(path.stem, path, validated(CampaignDefinition, content, node, path), node)


def read_campaigns(paths: list[Path]) -> dict[str, Campaign]:
    """Every campaign by id; the mistakes of all files are reported together."""
    return each_read(paths, read_campaign)


def campaign_named(campaigns: Mapping[str, Campaign], name: str) -> Campaign:
    """The campaign of that id; NotThereError suggests the nearest."""
    return one_named(campaigns, "campaign", name)


def mistakes_among(campaign: Campaign, audiences: Mapping[str, Any]) -> list[str]:
    """A line per audience that the campaign names and the project does not have."""
    return [
        f"{campaign.at(('stages', stage, 'audiences', i))}: stages.{stage}.audiences: no audience {name!r}; "
        + (nearest(name, list(audiences)) or "none is defined yet (audiences/*.yaml)")
        for stage, s in campaign.definition.stages.there
        for i, name in enumerate(s.audiences)
        if name not in audiences
    ]


def refuse_past(campaign: Campaign, as_of: date) -> None:
    """ConfigurationError where D-day is not after the day that is known."""
    day = campaign.definition.d_day
    if day <= as_of:
        raise ConfigurationError(
            f"{campaign.at(('d_day',))}: d_day {day} is not after {as_of}, the release's day; plan for a later day"
        )
