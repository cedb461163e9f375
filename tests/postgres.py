"""A real PostgreSQL server of the tests' own, on a socket in a folder of theirs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=60")
STARTS_WITHIN_SECONDS = 30


def programs() -> Path | None:
    """The folder of PostgreSQL's own programs, wherever a distribution puts them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


class PostgresServer:
    """Started when made; ``database`` makes an empty one. PostgreSQL refuses to run as root, so root runs it as another."""

    def __init__(self, bin_folder: Path):
        self.bin = bin_folder
        self.user = "postgres" if os.geteuid() == 0 else None
        # A socket's path may be no longer than a hundred letters.
        self.folder = Path(tempfile.mkdtemp(prefix="hx-pg-"))
        if self.user:
            owner = pwd.getpwnam(self.user)
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        data = self.folder / "data"
        self._run("initdb", "-D", str(data), "-U", "huaxiang", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C")
        options = [part for option in FAST for part in ("-c", option)]
        command = [str(self.bin / "postgres"), "-D", str(data), "-k", str(self.folder), *options]
        self._log = (self.folder / "log").open("wb")
        self._server = subprocess.Popen(self._as_user(command), stdout=self._log, stderr=self._log, cwd=self.folder)
        self._made = 0
        self._until_it_answers()

    def database(self) -> str:
        """The address of an empty database, as a project's settings name it."""
        self._made += 1
        name = f"portal{self._made}"
        self._run("createdb", "-h", str(self.folder), "-U", "huaxiang", name)
        return f"postgresql://huaxiang@/{name}?host={self.folder}"

    def stop(self) -> None:
        self._server.send_signal(signal.SIGINT)
        self._server.wait(STARTS_WITHIN_SECONDS)
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _as_user(self, command: list[str]) -> list[str]:
        if self.user is None:
            return command
        return ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups", *command]

    def _run(self, name: str, *arguments: str) -> None:
        command = self._as_user([str(self.bin / name), *arguments])
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self.folder)
        assert done.returncode == 0, f"{name}: {done.stderr[-1000:]}"

    def _until_it_answers(self) -> None:
        end = time.monotonic() + STARTS_WITHIN_SECONDS
        asked = [str(self.bin / "pg_isready"), "-q", "-h", str(self.folder)]
        while subprocess.run(asked, check=False).returncode != 0:
            assert self._server.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.05)
