"""The application: pages, API, static files, and what stands before all of them."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI

from portal.failures import add_handlers
from portal.pages import campaigns, deliveries, health, home, segments, sign_in, static, tags, users
from portal.parts import Portal
from portal.shop import OpenShop
from portal.sign_in.headers import Headers
from portal.state.opened import State, opened_state
from project.folder import Project

HERE = Path(__file__).parent
PAGES = (health, static, sign_in, home, tags, segments, deliveries, campaigns, users)


def create_app(project: Project, *, state: State | None = None, framed: bool = False) -> FastAPI:
    """The portal of a project. ``framed``: pages of the same host may show it in a frame, as Airflow's do."""
    settings = project.settings.portal
    app = FastAPI(
        title="Huaxiang", root_path=settings.base_path, docs_url=None, redoc_url=None, openapi_url=None, debug=False
    )
    app.state.portal = Portal(settings, OpenShop(project), state or opened_state(project.folder, settings))
    for page in PAGES:
        app.include_router(page.router)
    add_handlers(app)
    app.add_middleware(Headers, framed=framed)
    return app
