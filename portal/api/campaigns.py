"""Campaigns: their calendar, what each needs and what it brought."""

from __future__ import annotations

from datetime import date
from typing import Any

from fastapi import Depends, Request

from campaigns.language import STAGES
from portal.api.answers import UNCHANGED, Cursor, FileStem, Limit, Page, Said, Worded, api_router, page_of
from portal.parts import shop_of
from portal.sign_in.gate import allowed
from queries.campaign_course import StageCourse, campaigns_course
from queries.campaign_plan import CampaignPlan, campaign_plan
from schemas.errors import NotThereError

router = api_router("campaigns")


class StageDays(Said):
    """One stage of the calendar."""

    stage: str
    name: Worded
    first: date
    last: date
    audiences: tuple[str, ...]


class CampaignListed(Said):
    """A campaign with its days."""

    id: str
    name: Worded
    owner: str
    d_day: date
    holdout: float
    stages: tuple[StageDays, ...]


class CampaignResults(Said):
    """What a campaign did by the newest release. Rows are those of ``campaigns.results`` and its like; empty: not counted."""

    id: str
    name: Worded
    assigned: dict[str, int]
    over_on: date | None
    stages: tuple[StageCourse, ...]
    results: tuple[dict[str, Any], ...]
    progress: tuple[dict[str, Any], ...]
    attribution: tuple[dict[str, Any], ...]
    learnt: tuple[dict[str, Any], ...]


@router.get("/campaigns", responses=UNCHANGED, dependencies=[Depends(allowed("campaigns.read"))])
def list_campaigns(request: Request, cursor: Cursor = None, limit: Limit = 50) -> Page[CampaignListed]:
    """The calendar: every campaign with the days of its stages."""
    found = []
    for one in shop_of(request).project().campaigns.values():
        d = one.definition
        stages = []
        for name, stage in d.stages.there:
            first, last = d.days(name)
            stages.append(
                StageDays(
                    stage=name,
                    name=Worded(zh=STAGES[name].zh, en=STAGES[name].en),
                    first=first,
                    last=last,
                    audiences=tuple(stage.audiences),
                )
            )
        found.append(
            CampaignListed(
                id=one.id,
                name=Worded(zh=d.name.zh, en=d.name.en),
                owner=d.owner,
                d_day=d.d_day,
                holdout=d.holdout,
                stages=tuple(stages),
            )
        )
    return page_of(found, lambda one: one.id, cursor, limit)


@router.get("/campaigns/{name}/plan", responses=UNCHANGED, dependencies=[Depends(allowed("campaigns.read"))])
def get_campaign_plan(request: Request, name: FileStem) -> CampaignPlan:
    """What the goal needs, who is there, what is to be expected, and the smallest lift that could be seen."""
    return campaign_plan(shop_of(request).project(), name, which=shop_of(request).release().number)


@router.get("/campaigns/{name}/results", responses=UNCHANGED, dependencies=[Depends(allowed("campaigns.read"))])
def get_campaign_results(request: Request, name: FileStem) -> CampaignResults:
    """Stages, lift with interval and sample-ratio check, attribution and what was learnt, as last counted."""
    shop = shop_of(request)
    told = {c.id: c for c in campaigns_course(shop.project(), shop.release()).told}
    if name not in told:
        raise NotThereError(f"no campaign {name!r:.60} is running, planned or lately over; told are {', '.join(told)}")
    c = told[name]
    return CampaignResults(
        id=c.id,
        name=Worded(zh=c.definition.name.zh, en=c.definition.name.en),
        assigned=c.assigned,
        over_on=c.over_on,
        stages=c.stages,
        results=tuple(map(dict, c.results)),
        progress=tuple(map(dict, c.progress)),
        attribution=tuple(map(dict, c.attribution)),
        learnt=tuple(map(dict, c.learnt)),
    )
