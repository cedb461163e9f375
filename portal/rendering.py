"""Pages from templates: every value escaped, in the reader's language, with addresses below the portal's base."""

from __future__ import annotations

from functools import cache
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from portal.parts import base_path_of, shop_of
from portal.sign_in.cookies import ANONYMOUS, LANGUAGE, set_cookie
from portal.sign_in.gate import LANGUAGES
from schemas.text import Text

REMEMBERED_SECONDS = 365 * 86_400


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


def render(request: Request, template: str, http_status: int = 200, **context: Any) -> HTMLResponse:
    """A page, or a part of one, as an answer."""
    lang, base = language_of(request), base_path_of(request)
    person = getattr(request.state, "person", None)
    csrf = getattr(request.state, "csrf", "")

    def t(text: Text) -> str:
        return text.zh if lang == "zh" else text.en

    def url(path: str, **query: Any) -> str:
        return base + path + ("?" + urlencode(query) if query else "")

    page = _templates().get_template(template)
    html = page.render(
        request=request,
        person=person,
        lang=lang,
        t=t,
        csrf=csrf,
        base=base,
        url=url,
        shop_name=shop_of(request).project().settings.name,
        **context,
    )
    response = HTMLResponse(html, http_status)
    if request.query_params.get("lang") in LANGUAGES:
        set_cookie(request, response, LANGUAGE, lang, REMEMBERED_SECONDS)
    if person is None and csrf and request.cookies.get(ANONYMOUS) != csrf:
        set_cookie(request, response, ANONYMOUS, csrf)
    return response
