"""A portal that really listens, as the command starts it, and a browser in front of it."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import missing
from tests.report.browser import found

START_SECONDS = 60
OFFLINE = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What keeps Chromium from asking hosts of its own."""


@dataclass
class Served:
    """Where it listens, the process, and what it has printed so far."""

    address: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def first_password(self) -> str:
        told = re.search(r"^Sign in as admin;.*: (\S+)$", self.log.read_text(encoding="utf-8"), re.M)
        assert told, "no first password was printed"
        return told[1]

    def stop(self) -> None:
        """As Ctrl-C does."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def huaxiang(*arguments: str) -> list[str]:
    """The command, of this checkout."""
    return [sys.executable, "-c", "from cli.main import main; main()", *arguments]


def serve(folder: Path, log: Path, port: int | None = None) -> Served:
    """Start the portal of a project and wait until it answers."""
    port = port or free_port()
    with log.open("ab") as out:
        process = subprocess.Popen(
            huaxiang("portal", "--project", str(folder), "--port", str(port)),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
    made = Served(f"http://localhost:{port}", process, log)
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urlopen(f"{made.address}/healthz", timeout=2):
                return made
        except (URLError, OSError):
            time.sleep(0.1)
    made.stop()
    raise AssertionError(f"the portal did not start: {log.read_text(encoding='utf-8')[-2000:]}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium under Playwright; skipped, or failed under CI, where there is none."""
    program = found() or shutil.which("chromium")
    if program is None:
        missing("no Chromium on this machine: install chromium, or name one in CHROMIUM")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=list(OFFLINE))
        yield browser
        browser.close()
