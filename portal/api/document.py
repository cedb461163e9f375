"""The API openapi_of by itself: ``/api/v1/openapi.json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from portal.api import audiences, campaigns, deliveries, jobs, people, releases, segments, tags, uses
from portal.api.answers import VERSION, VersionedRoute
from portal.parts import base_path_of
from portal.sign_in.gate import DECLARED, everybody_may
from portal.sign_in.roles import PERMISSIONS

TOPICS = (releases, tags, segments, audiences, uses, jobs, deliveries, campaigns, people)
ABOUT = """Everything that the portal's pages do, for programs.

Sign in with `Authorization: Bearer TOKEN`; an admin or the person makes tokens in the portal, with scopes and a last day.
Lists come in pages: give `next` back as `cursor`. What is read has an `ETag`: `If-None-Match` saves reading it again, and
`If-Match` keeps a save from going over what somebody else saved. Builds and deliveries are jobs: the same
`Idempotency-Key` gives the same job. Errors are problem details (RFC 9457); `errors` says which field is meant.
"""
PROBLEM_SCHEMA = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {
                    "field": {"type": "string", "description": "Dotted path of what is meant."},
                    "message": {"type": "string"},
                    "line": {"type": "integer", "description": "Of a definition's text."},
                },
            },
        },
    },
}


def api_routers() -> list[APIRouter]:
    """All routers of the API, the document's last."""
    found = APIRouter(prefix=VERSION)
    for topic in TOPICS:
        found.include_router(topic.router)
    about = APIRouter(prefix=VERSION, route_class=VersionedRoute)
    routes = list(routes_in(found))

    @about.get("/openapi.json", include_in_schema=False, dependencies=[Depends(everybody_may)])
    def api_document(request: Request) -> JSONResponse:
        """What this document is made from: the routes, their types and their permissions."""
        return JSONResponse(openapi_of(routes, base_path_of(request)))

    return [found, about]


def routes_in(router: APIRouter) -> Sequence[APIRoute]:
    """The routes that the document tells of."""
    return [route for route in router.routes if isinstance(route, APIRoute)]


def openapi_of(routes: Sequence[APIRoute], base_path: str) -> dict[str, Any]:
    """OpenAPI of these routes; every operation says which scope it asks for."""
    made: dict[str, Any] = get_openapi(
        title="Huaxiang 画像",
        version="1",
        description=ABOUT,
        routes=list(routes),
        servers=[{"url": base_path or "/"}],
    )
    parts = made.setdefault("components", {})
    parts.setdefault("schemas", {})["Problem"] = PROBLEM_SCHEMA
    parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "description": ", ".join(PERMISSIONS)}}
    for route in routes:
        for method in route.methods:
            operation = made["paths"][route.path_format][method.lower()]
            operation["security"] = [{"token": []}]
            operation["x-permission"] = permission_of(route)
    return made


def permission_of(route: APIRoute) -> str | None:
    """The permission that a route's gate asks for."""
    gates = [d.call for d in route.dependant.dependencies if d.call in DECLARED]
    return next((DECLARED[gate] for gate in gates if gate is not None), None)
