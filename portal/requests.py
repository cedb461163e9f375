"""What people ask a worker to do, and the command that does it: the verbs of the command line and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from schemas.configuration import Settings, nearest
from schemas.errors import UsageError

NAME = r"^[^\W\d_][\w.-]{0,119}$"
"""What a file of the project may be called to be named by a page: no path, no option."""
LONGEST_REASON = 500


class Request(Settings):
    """Base of what can be asked for."""

    audience: str = Field(pattern=NAME)

    @abstractmethod
    def verb(self) -> list[str]:
        """Verb and options; who asks, the project and the name are added to them."""

    def command(self, folder: Path, login: str) -> list[str]:
        """The arguments of ``huaxiang``. No text of a person can be taken for an option: each stands behind a ``=`` or ``--``."""
        return ["audience", *self.verb(), f"--by={login}", f"--project={folder}", "--json", "--", self.audience]


class BuildRequest(Request):
    """Publish who is in an audience at the newest release."""

    reason: str = Field(default="", max_length=LONGEST_REASON)

    def verb(self) -> list[str]:
        return ["build", f"--reason={self.reason}"] if self.reason else ["build"]


class DeliverRequest(Request):
    """Write the files of an audience, for a platform or as its own export says."""

    platform: str | None = Field(default=None, pattern=NAME)
    again: bool = False
    full: bool = False
    force: bool = False

    def verb(self) -> list[str]:
        chosen = [f"--{name}" for name in ("again", "full", "force") if getattr(self, name)]
        return ["export", *chosen, *([f"--to={self.platform}"] if self.platform else [])]


KINDS: dict[str, type[Request]] = {"audience.build": BuildRequest, "audience.deliver": DeliverRequest}


def request_of(kind: str, arguments: dict[str, Any]) -> Request:
    """A request that can be meant; UsageError names the field that cannot."""
    if kind not in KINDS:
        raise UsageError(f"no kind of job {kind!r}; {nearest(kind, list(KINDS))}")
    try:
        return KINDS[kind].model_validate(arguments)
    except ValidationError as e:
        said = "; ".join(f"{'.'.join(map(str, p['loc']))}: {p['msg']}" for p in e.errors())
        raise UsageError(f"{kind}: {said}") from None
