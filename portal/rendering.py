"""Pages from templates: in the reader's language and theme, every value escaped, nothing inline.

Language and theme come from the address (``?lang=``, ``?theme=``), which is remembered, else from the person, else from what
the browser prefers.
"""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from portal.assets import assets
from portal.parts import base_path_of, shop_of
from portal.sign_in.cookies import ANONYMOUS, LANGUAGE, set_cookie
from portal.sign_in.gate import LANGUAGES
from portal.words.pages import NAV, WORDS
from report.blocks import count, share
from report.page import Charts
from schemas.text import Text

REMEMBERED_SECONDS = 365 * 86_400
MOMENTS = {"day": "%Y-%m-%d", "minutes": "%Y-%m-%d %H:%M", "seconds": "%Y-%m-%d %H:%M:%S"}
THEME, THEMES = "theme", ("auto", "light", "dark")


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("portal", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def language_of(request: Request) -> str:
    """What the address asks for, else the person's own, else what the browser remembers or prefers."""
    person = getattr(request.state, "person", None)
    wished = (
        request.query_params.get("lang"),
        person.language if person else None,
        request.cookies.get(LANGUAGE),
        *(part.strip()[:2].lower() for part in request.headers.get("Accept-Language", "").split(",")),
    )
    return next((w for w in wished if w in LANGUAGES), LANGUAGES[0])


def theme_of(request: Request) -> str:
    """Light, dark, or what the system says (auto)."""
    wished = (request.query_params.get(THEME), request.cookies.get(THEME))
    return next((w for w in wished if w in THEMES), THEMES[0])


def said_in(value: Any, lang: str) -> str:
    """A value as a page says it: texts in the language, numbers with thousands, days in ISO form, a dash for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return {"zh": ("否", "是"), "en": ("no", "yes")}[lang][value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, date):
        return value.isoformat()
    zh, en = getattr(value, "zh", None), getattr(value, "en", None)
    if isinstance(zh, str) and isinstance(en, str):
        return zh if lang == "zh" else en
    return str(value)


def render(request: Request, template: str, code: int = 200, /, **context: Any) -> HTMLResponse:
    """A page, or a part of one, as an answer. Moments are said in the shop's time zone."""
    lang, base = language_of(request), base_path_of(request)
    project = shop_of(request).project()
    person = getattr(request.state, "person", None)
    csrf = getattr(request.state, "csrf", "")

    def say(value: Any) -> str:
        return said_in(value, lang)

    def when(moment: datetime | None, to: str = "minutes") -> str:
        return "–" if moment is None else moment.astimezone(project.zone_info).strftime(MOMENTS[to])

    def url(path: str, **query: Any) -> str:
        asked = {k: v for k, v in query.items() if v not in (None, "")}
        return base + path + ("?" + urlencode(asked, doseq=True) if asked else "")

    def asset(name: str) -> str:
        return f"{base}/static/{name}?v={assets()[name].version}"

    def again(**changed: str) -> str:
        kept = [(k, v) for k, v in request.query_params.multi_items() if k not in changed]
        return "?" + urlencode([*kept, *changed.items()])

    html = (
        _templates()
        .get_template(template)
        .render(
            {
                "request": request,
                "person": person,
                "lang": lang,
                "theme": theme_of(request),
                "t": say,
                "when": when,
                "say": say,
                "w": WORDS,
                "csrf": csrf,
                "base": base,
                "url": url,
                "asset": asset,
                "again": again,
                "here": request.url.path.removeprefix(base) or "/",
                "nav": [] if person is None else [entry for entry in NAV if person.may(entry.permission)],
                "count": count,
                "share": share,
                "charts": Charts(),
                "shop_name": Text(project.settings.name.zh, project.settings.name.en),
                **context,
            }
        )
    )
    response = HTMLResponse(html, code)
    if request.query_params.get("lang") in LANGUAGES:
        set_cookie(request, response, LANGUAGE, lang, REMEMBERED_SECONDS)
    if (theme := request.query_params.get(THEME)) in THEMES:
        set_cookie(request, response, THEME, str(theme), REMEMBERED_SECONDS)
    if person is None and csrf and request.cookies.get(ANONYMOUS) != csrf:
        set_cookie(request, response, ANONYMOUS, csrf)
    return response
