"""The application: pages, API, static files, and what stands before all of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from portal.api.document import api_routers
from portal.failures import add_handlers
from portal.pages import (
    account,
    admin,
    audiences,
    builder,
    campaigns,
    deliveries,
    health,
    home,
    jobs,
    segments,
    sign_in,
    static,
    tags,
    users,
)
from portal.parts import Portal
from portal.shop import OpenShop
from portal.sign_in.headers import Headers
from portal.sign_in.limits import BodyLimit
from portal.sign_in.oidc import Provider
from portal.sign_in.pace import Pace
from portal.sign_in.proxy import BehindProxy
from portal.state.opened import State, opened_state
from project.folder import Project

HERE = Path(__file__).parent
PAGES = (
    health,
    static,
    sign_in,
    home,
    tags,
    segments,
    builder,
    audiences,
    jobs,
    deliveries,
    campaigns,
    users,
    account,
    admin,
)


def create_app(project: Project, *, state: State | None = None, in_airflow: bool = False) -> FastAPI:
    """The portal of a project. ``in_airflow``: Airflow signs people in, and may show the pages in a frame of its own."""
    settings = project.settings.portal
    app = FastAPI(
        title="Huaxiang",
        root_path="" if in_airflow else settings.base_path,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        debug=False,
    )
    app.state.portal = Portal(
        settings,
        OpenShop(project),
        state or opened_state(project.folder, settings),
        Pace(settings.limits.requests_per_minute),
        Pace(settings.limits.sign_ins_per_minute),
        Provider(settings.oidc)
        if settings.oidc is not None and "oidc" in settings.sign_in and not in_airflow
        else None,
        in_airflow,
    )
    for page in PAGES:
        app.include_router(page.router)
    for routes in api_routers():
        app.include_router(routes)
    add_handlers(app)
    # The last one stands outermost.
    app.add_middleware(BodyLimit, limits=settings.limits)
    app.add_middleware(Headers, framed=in_airflow)
    app.add_middleware(BehindProxy, networks=settings.behind)
    return app
