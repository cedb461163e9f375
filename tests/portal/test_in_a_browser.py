"""The portal in a real browser, as a marketer uses it: pages, both languages, no mistake of accessibility, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import missing

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import Browser, BrowserContext, Page
except ImportError:
    missing("Playwright is not installed: make setup-dev")

from portal.sign_in.people import add_person
from portal.state.opened import opened_state
from project.folder import Project
from tests.portal.served import Served, chromium, serve
from tests.report.made_shop import MadeShop

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"
WIDTHS = (1440, 390)
PAGES = (
    "/",
    "/tags",
    "/tags/lifecycle",
    "/segments",
    "/segments/rfm",
    "/segments/aipl",
    "/deliveries",
    "/campaigns",
    "/users",
)
HARMLESS = "Cannot addRelatedStyleRule"


@dataclass
class Seen:
    """A page with what went wrong in it: script errors, console errors, and requests to another origin."""

    page: Page
    address: str
    wrong: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.address + path)
        if self.page.query_selector("#charts"):
            self.page.wait_for_function("document.documentElement.dataset.charts === 'drawn'")

    def serious(self) -> list[str]:
        """Findings of axe that are serious or critical."""
        found = Axe().run(self.page).response["violations"]
        return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")]


def watched(context: BrowserContext, address: str) -> Seen:
    seen = Seen(context.new_page(), address)
    seen.page.on("pageerror", lambda e: seen.wrong.append(f"script: {e}"))
    seen.page.on(
        "console", lambda m: seen.wrong.append(m.text) if m.type == "error" and HARMLESS not in m.text else None
    )
    seen.page.on(
        "request",
        lambda r: None if r.url.startswith((address, "data:", "blob:")) else seen.wrong.append(f"elsewhere: {r.url}"),
    )
    return seen


def sign_in(seen: Seen, login: str, lang: str = "zh", theme: str = "light") -> None:
    seen.go(f"/sign-in?lang={lang}&theme={theme}")
    seen.page.fill("#login", login)
    seen.page.fill("#password", PASSWORD)
    seen.page.click("main button")
    seen.page.wait_for_url(f"{seen.address}/")


def with_people(folder: Path) -> None:
    """A person of each role who may sign in."""
    project = Project.load(folder)
    state = opened_state(project.folder, project.settings.portal)
    for role in ("viewer", "marketer", "analyst", "admin"):
        add_person(state, role, role, PASSWORD)
    state.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The portal of a shop with every table that pages show."""
    below = tmp_path_factory.mktemp("browsed")
    folder = MadeShop(below / "shop").project.folder
    with_people(folder)
    served = serve(folder, below / "portal.log")
    yield served
    served.stop()


@pytest.mark.parametrize(("lang", "theme"), [("zh", "light"), ("en", "dark")])
def test_every_page_is_whole_at_both_widths_and_open_to_everybody(
    browser: Browser, shop: Served, lang: str, theme: str
) -> None:
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    seen = watched(context, shop.address)
    found = {}
    seen.go(f"/sign-in?lang={lang}&theme={theme}")
    found["/sign-in"] = seen.serious()
    sign_in(seen, "admin", lang, theme)
    for path in PAGES:
        seen.go(path)
        found[path] = seen.serious()
        for width in WIDTHS:
            seen.page.set_viewport_size({"width": width, "height": 900})
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} is wider than {width}"
    assert {path: wrong for path, wrong in found.items() if wrong} == {}
    assert seen.wrong == []
    context.close()
