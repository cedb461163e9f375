"""A campaign of the project, held against the project's audiences."""

from __future__ import annotations

from collections.abc import Iterator

from campaigns.language import Campaign, campaign_named, mistakes_among
from project.folder import Project
from schemas.errors import ConfigurationError


def campaign_of(project: Project, name: str) -> Campaign:
    """The campaign of that name; ConfigurationError for audiences that the project does not have, NotThereError for none of it."""
    campaign = campaign_named(project.campaigns, name)
    if wrong := mistakes_among(campaign, project.audiences):
        raise ConfigurationError("\n".join(wrong))
    return campaign


def campaign_mistakes(project: Project) -> Iterator[str | None]:
    """The mistakes of every campaign; None for each that has none. Of files that cannot be read the others are not judged."""
    try:
        campaigns = project.campaigns
    except ConfigurationError as e:
        yield from str(e).splitlines()
        return
    try:
        audiences = project.audiences
    except ConfigurationError:
        return  # audiences are reported by themselves
    for one in campaigns.values():
        yield from mistakes_among(one, audiences) or (None,)
