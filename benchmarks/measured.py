"""Wall time, CPU time and peak memory of a command and of every process that it starts."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO

import psutil

from lake.tree_memory import watched

PR_SET_CHILD_SUBREAPER = 36
MEBIBYTE = 1 << 20
EVERY_SECONDS = 0.02
ENDS_WITHIN_SECONDS = 20


@dataclass(frozen=True)
class Measured:
    """``wall`` and ``cpu`` in seconds; ``peak_mb`` is the greatest sum over the processes, shared pages counted once."""

    wall: float
    cpu: float
    peak_mb: float


def measured(command: Sequence[str], environment: Mapping[str, str], timeout: float = 900) -> Measured:
    """Run the command to its end; RuntimeError with its last output if it fails or takes too long.

    This process adopts what the command leaves behind (a pool's workers, a JVM), so that its CPU time is counted.
    """
    # Not a pipe: what says more than it holds would wait for ever.
    with tempfile.TemporaryFile() as said:
        return _measured(command, environment, timeout, said)


def _measured(command: Sequence[str], environment: Mapping[str, str], timeout: float, said: IO[bytes]) -> Measured:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=said,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    status: int | None = None
    cpu = 0.0
    with watched() as memory:
        while status is None:
            found, how, usage = os.wait4(process.pid, os.WNOHANG)
            if found:
                status, cpu = os.waitstatus_to_exitcode(how), usage.ru_utime + usage.ru_stime
                break
            if time.perf_counter() - started > timeout:
                os.killpg(process.pid, signal.SIGKILL)
            time.sleep(EVERY_SECONDS)
    wall = time.perf_counter() - started
    process.returncode = status
    cpu += _left_behind()
    if status:
        said.seek(0)
        output = said.read().decode(errors="replace")
        raise RuntimeError(f"{' '.join(command)} ended with {status}:\n{output[-4000:]}")
    return Measured(wall, cpu, max(look.others for look in memory.seen) / MEBIBYTE)


def _left_behind() -> float:
    """Wait for adopted processes and give their CPU seconds; those that do not end by themselves are ended."""
    cpu, deadline = 0.0, time.perf_counter() + ENDS_WITHIN_SECONDS
    while True:
        try:
            found, _, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return cpu
        if found:
            cpu += usage.ru_utime + usage.ru_stime
        elif time.perf_counter() > deadline:
            for child in psutil.Process().children(recursive=True):
                child.kill()
        else:
            time.sleep(0.02)
