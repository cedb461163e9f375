"""What works the queue off: a process that runs ``huaxiang`` verbs as children, one at a time, and writes down how they fare.

It can be killed at any time. Its child is stopped with it, its lease runs out, and the next worker runs the verb again.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections import deque
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import IO

from audiences.contacts import masked
from portal.approval import to_be_approved
from portal.queue import LEASE, HeldJob, Queue
from portal.requests import request_of
from portal.state.opened import State
from project.folder import Project
from schemas.errors import HuaxiangError, LockedError

log = logging.getLogger("huaxiang.portal")
RENEWED_EVERY_SECONDS = LEASE.total_seconds() / 4
LOOKED_EVERY_SECONDS = 0.1
ASKED_EVERY_SECONDS = 0.5
STOPPED_WITHIN_SECONDS = 20.0
LOCKED_AGAIN_AFTER = timedelta(seconds=10)
LOCKED_FOR_AT_MOST = timedelta(hours=2)
"""How long a job waits for a table that another run holds before it has failed."""
LONGEST_OUTPUT = 64_000
SAME_FATE = 1
"""Linux: PR_SET_PDEATHSIG, what a child is sent when its parent ends, however that ends."""
PERSONAL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?<![\w.])(?:\+\d{8,15}|1[3-9]\d{9}|\d{17}[\dXx])(?![\w.])")
"""Addresses, phone numbers and identity cards: no verb prints one, and if one did it would not stay here."""


class Worker:
    """Takes jobs until it is told to stop (``stopping``)."""

    def __init__(
        self, project: Project, state: State, *, huaxiang: tuple[str, ...] = (sys.executable, "-m", "cli.main")
    ):
        self.project, self.state, self.queue = project, state, Queue(state)
        self.name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.huaxiang = huaxiang
        self.stopping = Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            if not self.work_once():
                self.stopping.wait(ASKED_EVERY_SECONDS)

    def work_once(self) -> bool:
        """Take a job, if there is one, and see it to its end."""
        held = self.queue.take(self.name)
        if held is None:
            return False
        try:
            self._do(held)
        except HuaxiangError as e:
            self.queue.end(held, exit_code=e.exit_code, output=without_personal_data(str(e)))
        return True

    def _do(self, held: HeldJob) -> None:
        request = request_of(held.job.kind, held.job.arguments)
        project = Project.load(self.project.folder)
        if held.job.approved_by is None and to_be_approved(project, request) is not None:
            self.queue.to_approval(held)
            return
        code, output = self._ran(held, request.command(project.folder, held.job.login))
        if code is None:
            return
        waited = self.state.now() - held.job.created_at
        if code == LockedError.exit_code and waited < LOCKED_FOR_AT_MOST:
            self.queue.put_back(held, after=LOCKED_AGAIN_AFTER, attempts=held.job.attempts - 1)
            return
        self.queue.end(held, exit_code=code, output=without_personal_data(output))

    def _ran(self, held: HeldJob, arguments: list[str]) -> tuple[int | None, str]:
        """Exit code and output of a verb; no code where it was stopped: the job is another's now, or waits for another."""
        began = time.monotonic()
        child = subprocess.Popen(
            [*self.huaxiang, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_share_fate,
        )
        assert child.stdout is not None and child.stderr is not None
        answer, said = _Heard(child.stdout), _Heard(child.stderr)
        renewed = -RENEWED_EVERY_SECONDS
        while child.poll() is None:
            spent = time.monotonic() - began
            if spent - renewed >= RENEWED_EVERY_SECONDS:
                if not self.queue.renew(held, {"seconds": round(spent), "said": without_personal_data(said.last)}):
                    log.warning("job %s is another worker's by now; stopped", held.job.id)
                    _stop(child)
                    return None, ""
                renewed = spent
            if self.stopping.wait(LOOKED_EVERY_SECONDS):
                _stop(child)
                self.queue.put_back(held, attempts=held.job.attempts - 1)
                return None, ""
        return child.returncode, answer.text() or said.text()


class _Heard:
    """What a child says, read as it comes so that it never waits for us; of much the end."""

    def __init__(self, stream: IO[bytes]):
        self._lines: deque[str] = deque()
        self._length = 0
        self._thread = Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace")[:LONGEST_OUTPUT]
                self._lines.append(line)
                self._length += len(line)
                while self._length > LONGEST_OUTPUT:
                    self._length -= len(self._lines.popleft())

    @property
    def last(self) -> str:
        return self._lines[-1].strip()[:200] if self._lines else ""

    def text(self) -> str:
        self._thread.join(STOPPED_WITHIN_SECONDS)
        return "".join(self._lines).strip()


def without_personal_data(text: str) -> str:
    """A text in which addresses, phone numbers and identity cards are masked."""
    return PERSONAL.sub(lambda found: masked(found[0]) or "", text)


def _share_fate() -> None:
    """In the child: stop as by Ctrl-C when the worker ends, so that no verb works on for nobody."""
    ctypes.CDLL(None).prctl(SAME_FATE, signal.SIGINT)


def _stop(child: subprocess.Popen[bytes]) -> None:
    """End a verb and what it started: by Ctrl-C, then by force."""
    for how in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(child.pid, how)
            child.wait(STOPPED_WITHIN_SECONDS)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def work_off(project: Project, state: State) -> None:
    """Work until SIGTERM or Ctrl-C; what is under way then goes back to the queue."""
    worker = Worker(project, state)
    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, lambda *_: worker.stopping.set())
    worker.run()


def start_beside(folder: Path) -> subprocess.Popen[bytes]:
    """A worker as a process of its own, which ends with this one."""
    command = [sys.executable, "-m", "cli.main", "portal", "worker", f"--project={folder}"]
    return subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_parent)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(SAME_FATE, signal.SIGTERM)
