"""An object store for tests: a real S3 server on the loopback, whose buckets can be slow, fail, lag and kill.

It is a process of its own: calls of deltalake that hold Python's lock while they wait for a store (``history``,
``alter``) would wait for themselves if a thread of this process were to answer. ``tests/s3_server.py`` is its inside.
"""

from __future__ import annotations

import fnmatch
import threading
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.managers import BaseManager
from typing import Any, Literal

REGION = "us-east-1"

Verb = Literal[
    "GET", "HEAD", "LIST", "PUT", "COPY", "DELETE", "DELETE MANY", "START PARTS", "PUT PART", "END PARTS", "DROP PARTS"
]
"""What a request asks for; a store bills PUT, COPY, LIST and the parts dear, GET and HEAD cheap, DELETE not at all."""


@dataclass(frozen=True)
class Request:
    """One request that came in. ``key`` is empty for what asks the whole bucket; a LIST has its prefix there.

    ``status`` is None where the connection was dropped. ``conditional``: it had If-Match or If-None-Match.
    """

    verb: Verb
    key: str
    status: int | None
    bytes_in: int
    bytes_out: int
    conditional: bool


class S3Server:
    """The server: one for a whole test run, a bucket for each test."""

    def __init__(self) -> None:
        self._manager = _Manager(ctx=get_context("spawn"))
        self._manager.start()
        self._inside = self._manager.Inside()
        self.endpoint: str = self._inside.endpoint()

    def stop(self) -> None:
        """The process ends; what was stored is forgotten."""
        self._manager.shutdown()

    def bucket(self) -> Bucket:
        """A new, empty bucket."""
        return Bucket(self._inside, self._inside.create(), self.endpoint)


class Bucket:
    """A bucket of one test: where it is, what it suffers, what was asked of it."""

    def __init__(self, inside: Any, name: str, endpoint: str):
        self._inside = inside
        self.name = name
        self.endpoint = endpoint

    @property
    def uri(self) -> str:
        """Where a lake can be: a prefix in the bucket, as shops have it."""
        return f"s3://{self.name}/shop/lake"

    @property
    def environment(self) -> dict[str, str]:
        """What obstore, deltalake and Sail read from the environment, by the names that AWS's own tools use."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }

    def well(self) -> None:
        """No trouble any more."""
        self._inside.well(self.name)

    def slow(self, seconds: float) -> None:
        """Every request waits so long before it is answered, side by side with the others."""
        self._inside.slow(self.name, seconds)

    def fail(
        self,
        status: int | None = 503,
        *,
        every: int | None = None,
        rate: float = 0.0,
        seed: int = 1,
        verbs: Collection[Verb] | None = None,
        keys: str = "*",
        after: bool = False,
        times: int | None = None,
    ) -> None:
        """Fail ``every`` n-th request, or a share (``rate``) of them, of these verbs and keys, at most so many times.

        ``status`` 500 or 503 (SlowDown), or None to drop the connection without an answer. ``after``: the request is
        done first and only its answer is lost, so that who asks again meets its own work.
        """
        if (every is None) == (rate == 0.0):
            raise ValueError("say either every or rate")
        self._inside.fail(
            self.name,
            {
                "status": status,
                "every": every,
                "rate": rate,
                "seed": seed,
                "verbs": verbs,
                "keys": keys,
                "after": after,
                "times": times,
            },
        )

    def lag(self, *, seconds: float = 0.0, puts: int = 0) -> None:
        """Lists leave out objects made in the last seconds, or by the last so many puts; GET and HEAD see them."""
        self._inside.lag(self.name, seconds, puts)

    def on_put(self, keys: str, act: Callable[[], object], *, nth: int = 1, before: bool = False) -> None:
        """At the n-th PUT of such a key do this (kill a process, say), then drop the connection.

        The object is stored by then, or with ``before`` it never is. The one who puts waits meanwhile.
        """
        hook = self._inside.hook(self.name, keys, nth, before)

        def follow() -> None:
            if self._inside.wait_for(hook):
                try:
                    act()
                finally:
                    self._inside.go_on(hook)

        threading.Thread(target=follow, name=f"at a put of {keys}", daemon=True).start()

    @property
    def requests(self) -> list[Request]:
        """What was asked since the bucket was made or `forget` called, failed requests too, in order of their answers."""
        found: list[Request] = self._inside.requests(self.name)
        return found

    def forget(self) -> None:
        """Count from here."""
        self._inside.forget(self.name)

    def count(self, *verbs: Verb, keys: str = "*") -> int:
        """How many requests of these verbs (or all) came for such keys, failed ones too."""
        return sum((not verbs or r.verb in verbs) and fnmatch.fnmatchcase(r.key, keys) for r in self.requests)

    def counts(self) -> dict[str, int]:
        """Requests by verb, failed ones too."""
        return dict(sorted(Counter(r.verb for r in self.requests).items()))

    def stored(self) -> list[str]:
        """The keys that are there, sorted, whatever lists say."""
        found: list[str] = self._inside.stored(self.name)
        return found

    def remove(self) -> None:
        """Gone with all that is in it."""
        self._inside.remove(self.name)


def _inside() -> Any:
    from tests.s3_server import Inside

    return Inside()


class _Manager(BaseManager):
    Inside: Callable[[], Any]


_Manager.register("Inside", _inside)
