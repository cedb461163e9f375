"""Pictures of every page (Chinese, light, 1440 wide) for the documentation: ``python -m tests.portal.pictures PROJECT``."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.portal.served import chromium, serve
from tests.portal.test_in_a_browser import sign_in, watched, with_people

INTO = Path(__file__).parents[2] / "docs" / "pictures"
PAGES = {
    "home": "/",
    "tags": "/tags",
    "tag": "/tags/lifecycle",
    "segments": "/segments",
    "rfm": "/segments/rfm",
    "audiences": "/audiences",
    "audience": "/audiences/beijing_lapsed_shiseido",
    "deliveries": "/deliveries",
    "campaigns": "/campaigns",
    "users": "/users/5",
    "admin": "/admin",
}


def main() -> int:
    """Takes them of a copy of the project, so that nothing of it changes."""
    project = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    INTO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="huaxiang-pictures-") as below:
        folder = Path(below) / "shop"
        shutil.copytree(project, folder, ignore=shutil.ignore_patterns("portal"))
        with_people(folder)
        served = serve(folder, Path(below) / "portal.log")
        try:
            with chromium() as browser:
                seen = watched(browser.new_context(viewport={"width": 1440, "height": 1000}), served.address)
                sign_in(seen, "admin")
                for name, path in PAGES.items():
                    seen.go(path)
                    seen.page.screenshot(path=INTO / f"portal-{name}.png")
                seen.go("/audiences/beijing_lapsed_shiseido")
                seen.page.click("form[action$='/edit'] button")
                seen.page.wait_for_selector("#people")
                seen.page.wait_for_load_state("networkidle")
                seen.page.screenshot(path=INTO / "portal-builder.png")
        finally:
            served.stop()
    for path in sorted(INTO.glob("portal-*.png")):
        print(path.relative_to(INTO.parents[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
