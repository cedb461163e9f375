"""Which deliveries a second person must approve, and why."""

from __future__ import annotations

from portal.requests import DeliverRequest, Request
from project.folder import Project
from queries.preview import preview
from schemas.text import Text


def to_be_approved(project: Project, request: Request) -> Text | None:
    """Why a second person must agree to a request; None where none must.

    The size is what would leave now; a worker asks again before it delivers, for the audience may have grown.
    """
    said = project.settings.portal.approval
    if not isinstance(request, DeliverRequest):
        return None
    if said.outside and request.platform is not None:
        return Text(f"投放到外部平台（{request.platform}）", f"it goes to an outside platform ({request.platform})")
    if said.above_users is None:
        return None
    leaving = preview(project, request.audience, sample=0).deliverable
    if leaving <= said.above_users:
        return None
    return Text(
        f"{leaving:,} 人，超过 {said.above_users:,} 人",
        f"it is of {leaving:,} people, more than {said.above_users:,}",
    )
