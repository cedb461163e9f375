"""The portal in a real browser, as a marketer uses it: pages, both languages, no mistake of accessibility, nothing from elsewhere."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.conftest import missing

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
except ImportError:
    missing("Playwright is not installed: make setup-dev")

from portal.sign_in.people import add_person
from portal.state.opened import opened_state
from project.folder import Project
from queries.preview import preview
from tests.audiences.lake_shop import beijing_shop
from tests.portal.served import Served, chromium, free_port, serve
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
            self.page.wait_for_selector("html[data-charts=drawn]")

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


# --- an audience built by hand ---

BY_HAND = "by_hand"
SECONDS = 20_000


@pytest.fixture(scope="module")
def beijing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Path]]:
    """The portal of the hand-made shop of the source material's audience, with its worker."""
    below = tmp_path_factory.mktemp("by-hand")
    folder = beijing_shop(below / "shop").folder
    with_people(folder)
    served = serve(folder, below / "portal.log")
    yield served, folder
    served.stop()


def changing(page: Page, act: Callable[[], object]) -> None:
    """Do something and wait until the builder has been counted anew."""
    with page.expect_response(lambda r: "/drafts/" in r.url and r.request.method == "POST", timeout=SECONDS):
        act()
    expect(page.locator(".htmx-request, .htmx-swapping, .htmx-settling")).to_have_count(0)


class Mouse:
    """Points at what it uses."""

    def __init__(self, page: Page):
        self.page = page

    def reach(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def press(self, selector: str) -> None:
        self.reach(selector).click()

    def choose(self, selector: str, value: str, counted: bool = True) -> None:
        at = self.reach(selector)
        if at.input_value() != value:
            changing(self.page, lambda: at.select_option(value)) if counted else at.select_option(value)

    def write(self, selector: str, text: str, counted: bool = True) -> None:
        at = self.reach(selector)
        at.fill(text)
        if counted:
            changing(self.page, lambda: at.press("Tab"))


class Keyboard(Mouse):
    """Comes to everything by the Tab key, from wherever the focus is."""

    def reach(self, selector: str) -> Locator:
        at = self.page.locator(selector)
        for _ in range(500):
            if at.evaluate("e => e === document.activeElement"):
                return at
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{selector} is not reached by the Tab key")

    def press(self, selector: str) -> None:
        at = self.reach(selector)
        self.page.keyboard.press("Space" if at.evaluate("e => e.matches('button, input, summary')") else "Enter")

    def choose(self, selector: str, value: str, counted: bool = True) -> None:
        for _ in range(40):
            at = self.reach(selector)
            here, there = at.evaluate(
                "(e, v) => [e.selectedIndex, [...e.options].findIndex(o => o.value === v)]", value
            )
            if here == there:
                return
            key = "ArrowDown" if here < there else "ArrowUp"
            changing(self.page, lambda k=key: self.page.keyboard.press(k)) if counted else self.page.keyboard.press(key)  # type: ignore[misc]
        raise AssertionError(f"{selector} is not set to {value}")

    def write(self, selector: str, text: str, counted: bool = True) -> None:
        self.reach(selector)
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)
        if counted:
            changing(self.page, lambda: self.page.keyboard.press("Tab"))


def build(hand: Mouse) -> None:
    """To Beijing: who came three times in 90 days, ever bought, and bought no 资生堂 in the last week."""
    page = hand.page

    def block(n: int, field: str) -> str:
        return f"#include-all-{n}-{field}".replace(".", "\\.")

    def add(n: int, behaviour: str) -> None:
        hand.choose("#add-kind-include", "event", counted=False)
        changing(page, lambda: hand.press("#add-include"))
        if not page.locator(block(n, f"e-{behaviour}")).is_checked():
            changing(page, lambda: hand.press(block(n, f"e-{behaviour}")))
        others = page.locator(f"#block-include-all-{n} input[name=event]:checked:not([value={behaviour}])")
        while others.count():
            other = others.first.get_attribute("id")
            changing(page, lambda o=other: hand.press(f"#{o}"))  # type: ignore[misc]

    add(1, "view")
    hand.write(block(1, "from"), "90")
    hand.choose(block(1, "measure"), "visits")
    hand.choose(block(1, "op-0"), "at_least")
    hand.write(block(1, "value-0"), "3")
    add(2, "pay")
    hand.choose(block(2, "days"), "ever")
    add(3, "pay")
    hand.choose(block(3, "did"), "false")
    hand.write(block(3, "from"), "7")
    hand.press("#where--include-all-3")
    hand.write(block(3, "where.brand-0"), "资生堂")


@pytest.mark.parametrize(("lang", "kind"), [("zh", Mouse), ("en", Keyboard)])
def test_a_marketer_builds_the_beijing_audience_by_hand(
    browser: Browser, beijing: tuple[Served, Path], lang: str, kind: type[Mouse]
) -> None:
    served, folder = beijing
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    seen = watched(context, served.address)
    page = seen.page
    sign_in(seen, "marketer", lang)
    seen.go("/tags/register_city")
    page.locator("tr", has_text="北京").locator("a.btn").click()
    page.wait_for_url("**/drafts/*")
    first = page.inner_text("#people")
    build(kind(page))
    assert page.inner_text("#people") != first
    draft = page.url
    page.reload()
    assert page.locator("#include-all-3-where\\.brand-0").input_value() == "资生堂", "a reload loses nothing"
    seen.go("/tags")
    page.go_back()
    assert page.url == draft and page.locator("#block-include-all-3").count() == 1, "nor does going back"
    assert seen.serious() == []
    name = f"{BY_HAND}_{lang}"
    page.fill("#save-name", name)
    page.fill("#save-reason", "tried by hand")
    page.click("#save")
    page.wait_for_url(f"**/audiences/{name}*")
    project = Project.load(folder)
    wanted, made = preview(project, "beijing"), preview(project, name)
    assert made.users == wanted.users == int(page.inner_text("#people")) > 0
    page.click("form[action$='/build'] button")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("#state[data-state=done]", timeout=3 * SECONDS)
    seen.go(f"/audiences/{name}")
    page.fill("form[action$='/deliver'] input[name=purpose]", "the call of April")
    page.click("form[action$='/deliver'] button")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("#state[data-state=done]", timeout=3 * SECONDS)
    seen.go(f"/deliveries?audience={name}")
    page.click("tbody th a")
    page.fill("input[name=purpose]", "the call of April")
    with page.expect_download() as taken:
        page.click("form[action*='/files/'] button")
    rows = list(csv.DictReader(taken.value.path().open(encoding="utf-8-sig", newline="")))
    assert len(rows) == wanted.deliverable
    assert {r["user_id"] for r in rows} <= {str(r["user_id"]) for r in wanted.sample}
    assert seen.wrong == []
    context.close()


def test_a_build_goes_on_after_portal_and_worker_were_stopped_in_the_middle(browser: Browser, tmp_path: Path) -> None:
    folder = beijing_shop(tmp_path / "shop").folder
    with_people(folder)
    port, log = free_port(), tmp_path / "portal.log"
    first = serve(folder, log, port)
    context = browser.new_context()
    seen = watched(context, first.address)
    try:
        sign_in(seen, "viewer", "en")
        seen.go("/audiences/beijing")
        assert seen.page.locator("form[action$='/build']").count() == 0
        assert seen.page.goto(f"{first.address}/audiences/new").status == 403  # type: ignore[union-attr]
        seen.page.click("header form button")
        sign_in(seen, "marketer", "en")
        seen.go("/audiences/beijing")
        seen.page.click("form[action$='/build'] button")
        seen.page.wait_for_url("**/jobs/*")
        asked = seen.page.url
    finally:
        first.stop()
    second = serve(folder, log, port)
    try:
        seen.page.goto(asked)
        seen.page.wait_for_selector("#state[data-state=done]", timeout=5 * SECONDS)
        assert "3" in seen.page.inner_text("#job")
    finally:
        context.close()
        second.stop()
