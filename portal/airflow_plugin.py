"""The portal in Airflow's menu, behind Airflow's own sign-in.

A file of one line in Airflow's folder of plugins mounts it: ``from portal.airflow_plugin import PortalPlugin``. The shop is
that of ``HUAXIANG_PROJECT``. Airflow checks nobody for an application of a plugin: every request is checked here.
"""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import resolve_user_from_token
from airflow.plugins_manager import AirflowPlugin
from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import HTTPException
from fastapi.responses import PlainTextResponse, RedirectResponse

from portal.sign_in.csrf import SAFE_METHODS
from portal.sign_in.headers import Asgi, Receive, Scope, Send
from portal.sign_in.proxy import AIRFLOW, Vouched
from project.folder import Project
from project.portal_settings import AirflowSettings, RoleName

PREFIX = "/huaxiang"
PROJECT = "HUAXIANG_PROJECT"


class BehindAirflow:
    """The portal for whom Airflow knows. It is made at the first request: Airflow's other processes load plugins too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._made: tuple[Asgi, AirflowSettings] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        try:
            user = await resolve_user_from_token(request.cookies.get(COOKIE_NAME_JWT_TOKEN))
        except HTTPException:
            await _to_airflow(request)(scope, receive, send)
            return
        app, settings = await run_in_threadpool(self._portal)
        if not get_auth_manager().is_authorized_view(access_view=AccessView.WEBSITE, user=user):
            await PlainTextResponse("Airflow lets you see no pages", 403)(scope, receive, send)
            return
        scope[AIRFLOW] = Vouched("airflow", user.get_name(), _role(settings, user), settings.else_role)
        await app(scope, receive, send)

    def _portal(self) -> tuple[Asgi, AirflowSettings]:
        from portal.app import create_app

        with self._lock:
            if self._made is None:
                project = Project.load(Path(os.environ.get(PROJECT, ".")))
                self._made = create_app(project, in_airflow=True), project.settings.portal.airflow
            return self._made


def _to_airflow(request: Request) -> PlainTextResponse | RedirectResponse:
    """On to Airflow's sign-in, where a page was asked for."""
    if request.method not in SAFE_METHODS:
        return PlainTextResponse("sign in to Airflow", 401)
    return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)), 303)


def _role(settings: AirflowSettings, user: Any) -> RoleName | None:
    """The role that a role of the user's in Airflow gives, by whichever manager of people Airflow has."""
    named = [getattr(user, "role", None), *(getattr(r, "name", None) for r in getattr(user, "roles", None) or ())]
    given = [settings.roles[n.lower()] for n in named if isinstance(n, str) and n.lower() in settings.roles]
    return given[0] if given else None


class PortalPlugin(AirflowPlugin):
    """Mounts the portal and shows it in the menu."""

    name = "huaxiang_portal"
    fastapi_apps: ClassVar = [{"app": BehindAirflow(), "url_prefix": PREFIX, "name": "Huaxiang"}]
    external_views: ClassVar = [
        {"name": "画像 Huaxiang", "href": f"{PREFIX}/", "destination": "nav", "url_route": "huaxiang"}
    ]
