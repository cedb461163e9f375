"""The inside of the S3 server of the tests: moto answers, and what real stores do badly is put in front of it.

Signatures are not checked: any key opens any bucket.
"""

from __future__ import annotations

import fnmatch
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs

from moto.core import DEFAULT_ACCOUNT_ID
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server

from tests.stores import REGION, Request, Verb

ADDS: Collection[Verb] = ("PUT", "COPY", "END PARTS")
"""After these an object is there that may not have been."""

PATIENCE_SECONDS = 120
"""How long a put waits for what a test does at it."""

Answer = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers, body."""


@dataclass
class _Trouble:
    """A rule by which requests of a bucket fail; `tests.stores.Bucket.fail` says what its fields mean."""

    status: int | None
    every: int | None
    rate: float
    seed: int
    verbs: Collection[Verb] | None
    keys: str
    after: bool
    times: int | None
    seen: int = 0
    done: int = 0
    attempts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def strikes(self, verb: Verb, key: str) -> bool:
        """Whether this request fails. By rate it depends on verb, key and which attempt it is, not on threads' order."""
        if (self.verbs is not None and verb not in self.verbs) or not fnmatch.fnmatchcase(key, self.keys):
            return False
        if self.times is not None and self.done >= self.times:
            return False
        self.seen += 1
        self.attempts[verb, key] += 1
        if self.every is not None:
            hit = self.seen % self.every == 0
        else:
            said = f"{self.seed} {verb} {key} {self.attempts[verb, key]}".encode()
            hit = int.from_bytes(blake2b(said, digest_size=4).digest()) / 2**32 < self.rate
        self.done += hit
        return hit


@dataclass
class _Hook:
    """A test does something at the n-th put of such a key: ``hit`` when it came, ``over`` when the test has done it."""

    keys: str
    nth: int
    before: bool
    seen: int = 0
    hit: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False

    def happen(self) -> None:
        self.hit.set()
        if not self.over.wait(PATIENCE_SECONDS):
            raise TimeoutError(f"a test takes more than {PATIENCE_SECONDS} s at the put of {self.keys}")


class _Bucket:
    """What a bucket suffers, and what was asked of it."""

    def __init__(self) -> None:
        self.guard = threading.Lock()
        self.requests: list[Request] = []
        self.hooks: list[_Hook] = []
        self.born: dict[str, tuple[float, int]] = {}
        self.births = 0
        self.well()

    def well(self) -> None:
        self.latency_seconds = 0.0
        self.lag_seconds = 0.0
        self.lag_puts = 0
        self.troubles: list[_Trouble] = []
        for hook in self.hooks:
            hook.dropped = True
            hook.hit.set()
        self.hooks = []

    def struck(self, verb: Verb, key: str) -> _Trouble | None:
        with self.guard:
            return next((t for t in self.troubles if t.strikes(verb, key)), None)

    def hooked(self, verb: Verb, key: str) -> _Hook | None:
        if verb not in ADDS:
            return None
        with self.guard:
            for hook in self.hooks:
                if fnmatch.fnmatchcase(key, hook.keys):
                    hook.seen += 1
                    if hook.seen == hook.nth:
                        return hook
        return None

    def bear(self, key: str) -> None:
        self.births += 1
        self.born[key] = (time.monotonic(), self.births)

    def lagging(self) -> list[str]:
        now = time.monotonic()
        return [
            key
            for key, (at, nth) in self.born.items()
            if now - at < self.lag_seconds or self.births - nth < self.lag_puts
        ]


class Inside:
    """moto's S3 on a free port of the loopback, and what `tests.stores` asks of it from another process.

    moto checks a condition and writes in two steps, and reads a body through one shared file position: its threads
    let two creators win and lose their place in bodies. So one request at a time is let in; waiting is done outside.
    """

    def __init__(self) -> None:
        self._app = create_backend_app("s3")
        self._one = threading.Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._hooks: list[_Hook] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="s3 server", daemon=True).start()
        threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()

    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def create(self) -> str:
        name = f"test-{uuid.uuid4().hex[:12]}"
        with self._one:
            _backend().create_bucket(name, REGION)
            self._buckets[name] = _Bucket()
        return name

    def remove(self, name: str) -> None:
        with self._one:
            self._buckets.pop(name).well()
            held = _backend().buckets[name].keys
            for key in list(held):
                held.pop(key)
            _backend().delete_bucket(name)

    def stored(self, name: str) -> list[str]:
        with self._one:
            return sorted(_backend().buckets[name].keys)

    def well(self, name: str) -> None:
        self._buckets[name].well()

    def slow(self, name: str, seconds: float) -> None:
        self._buckets[name].latency_seconds = seconds

    def lag(self, name: str, seconds: float, puts: int) -> None:
        bucket = self._buckets[name]
        bucket.lag_seconds, bucket.lag_puts = seconds, puts

    def fail(self, name: str, rule: dict[str, Any]) -> None:
        self._buckets[name].troubles.append(_Trouble(**rule))

    def hook(self, name: str, keys: str, nth: int, before: bool) -> int:
        made = _Hook(keys, nth, before)
        self._buckets[name].hooks.append(made)
        self._hooks.append(made)
        return len(self._hooks) - 1

    def wait_for(self, hook: int) -> bool:
        """Whether its put came; False when the bucket is well again or gone."""
        self._hooks[hook].hit.wait()
        return not self._hooks[hook].dropped

    def go_on(self, hook: int) -> None:
        self._hooks[hook].over.set()

    def requests(self, name: str) -> list[Request]:
        return list(self._buckets[name].requests)

    def forget(self, name: str) -> None:
        self._buckets[name].requests = []

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        name, _, key = environ["PATH_INFO"].lstrip("/").encode("latin-1").decode().partition("/")
        body = _body(environ)
        bucket = self._buckets.get(name)
        if bucket is None:
            with self._one:
                status, headers, answer = self._ask(environ, body)
            start_response(status, headers)
            return [answer]
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        verb = _verb(environ, key, query)
        if verb == "LIST":
            key = query.get("prefix", [""])[0]
        if bucket.latency_seconds:
            time.sleep(bucket.latency_seconds)
        trouble, hook = bucket.struck(verb, key), bucket.hooked(verb, key)
        if hook is not None:
            if not hook.before:
                self._store(name, bucket, environ, body, verb, key)
            hook.happen()
            answered = None
        elif trouble is None:
            answered = self._store(name, bucket, environ, body, verb, key)
        else:
            if trouble.after:
                self._store(name, bucket, environ, body, verb, key)
            answered = None if trouble.status is None else _error(trouble.status, verb)
        conditional = "HTTP_IF_MATCH" in environ or "HTTP_IF_NONE_MATCH" in environ
        status_code = None if answered is None else int(answered[0][:3])
        sent = 0 if answered is None else len(answered[2])
        bucket.requests.append(Request(verb, key, status_code, len(body), sent, conditional))
        if answered is None:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError(f"{verb} {key}: dropped on purpose")
        start_response(answered[0], answered[1])
        return [answered[2]]

    def _store(self, name: str, bucket: _Bucket, environ: dict[str, Any], body: bytes, verb: Verb, key: str) -> Answer:
        with self._one:
            if name not in self._buckets:
                return self._ask(environ, body)
            held = _backend().buckets[name].keys
            if verb == "LIST":
                hidden = {k: dict.pop(held, k) for k in bucket.lagging() if k in held}
                try:
                    return self._ask(environ, body)
                finally:
                    for k, versions in hidden.items():
                        dict.__setitem__(held, k, versions)
            new = verb in ADDS and key not in held
            answer = self._ask(environ, body)
            if new and key in held:
                bucket.bear(key)
            return answer

    def _ask(self, environ: dict[str, Any], body: bytes) -> Answer:
        said: list[Any] = []
        environ = {**environ, "wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        answer = b"".join(self._app(environ, lambda status, headers, exc_info=None: said.extend((status, headers))))
        return said[0], said[1], answer


class _Handler(MotoRequestHandler):
    """Sends small answers at once, and does not write a line for each request."""

    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing."""


def _end_with(parent: int) -> None:
    """The server does not outlive who started it, also where that was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


def _backend() -> Any:
    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def _body(environ: dict[str, Any]) -> bytes:
    # A body in chunks has no length; without either there is none, and reading would wait for ever.
    size = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
    found: bytes = environ["wsgi.input"].read(size)
    return found


def _verb(environ: dict[str, Any], key: str, query: dict[str, list[str]]) -> Verb:
    method = environ["REQUEST_METHOD"]
    if method == "POST":
        return "DELETE MANY" if "delete" in query else "START PARTS" if "uploads" in query else "END PARTS"
    if method == "PUT":
        if "partNumber" in query:
            return "PUT PART"
        return "COPY" if "HTTP_X_AMZ_COPY_SOURCE" in environ else "PUT"
    if method == "DELETE":
        return "DROP PARTS" if "uploadId" in query else "DELETE"
    if method == "GET":
        return "GET" if key else "LIST"
    return "HEAD"


def _error(status: int, verb: Verb) -> Answer:
    code, reason = ("SlowDown", "Slow Down") if status == 503 else ("InternalError", "Internal Server Error")
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>on purpose</Message></Error>'
    body = b"" if verb == "HEAD" else text.encode()
    return f"{status} {reason}", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))], body
