"""A lake on an object store: S3 and what speaks its protocol, Google's and Azure's, by ``obstore``.

What counts is put under a condition: create if absent, replace if unchanged. Lists may lag behind what was put, so what
is numbered (versions, releases) is asked for by name beyond the last one that a list shows. Credentials come from the
environment or the machine's role, never from a project's files.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import pyarrow.fs as pafs
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError
from obstore.store import from_url

from lake.file_locks import holding_of, note_of_this_process
from lake.store import (
    HeldByAnotherError,
    Holding,
    Lease,
    Store,
    StoreOptions,
    in_one_line,
    scheme,
)
from schemas.errors import StoreError

TRANSFERS = 8
"""Files that are fetched or put side by side."""
CHUNK = 8 << 20
RETRY_SECONDS, RETRIES, PATIENCE_SECONDS, CONNECT_SECONDS = 30, 8, 20, 5
"""How long, and how often, a request is tried again while the store answers with errors of its own; how long each waits.

Well within a lease: ``deltalake`` holds Python's lock while it waits, and nothing is renewed meanwhile.
"""
Mark = dict[str, str | None]
"""What changes with an object: its e_tag, and its version where the store has them."""
IN_USE_SECONDS = 3600
"""Local copies that were used within it are not removed, however full the cache is."""
LOCKS = "_locks/"


@dataclass(frozen=True)
class Stored:
    """One object: its name, its bytes, and a mark that changes with its content."""

    name: str
    bytes: int
    mark: str


class ObjectStore(Store):
    """``folder`` is a local copy, filled as it is read; ``put`` ones are right for ever, as data files never change."""

    def __init__(self, address: str, options: StoreOptions):
        super().__init__(_cache_of(address.rstrip("/"), options), address.rstrip("/"), is_remote=True)
        self.options = options
        backoff = {"init_backoff": timedelta(milliseconds=50), "max_backoff": timedelta(seconds=2), "base": 2}
        retry = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS), "backoff": backoff}
        with self._said():
            opened: Any = from_url
            self._objects: Any = opened(
                self.address, config=self._config() or None, client_options=self._client(), retry_config=retry
            )
        self._present: set[str] = set()
        self._published: set[str] = set()
        self._versions: dict[Path, int] = {}
        self._leases: dict[str, ObjectLease] = {}
        self._renewing: threading.Thread | None = None
        self._guard = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("a store is opened anew in every process, by its address and options")

    def _config(self) -> dict[str, str]:
        """Where the store is, as the project says; the environment says the rest."""
        found = {}
        if scheme(self.address) == "s3":
            if self.options.endpoint:
                found["endpoint"] = self.options.endpoint
            if self.options.region:
                found["region"] = self.options.region
        return found

    # --- small state ---

    def read(self, name: str) -> bytes | None:
        found = self._get(name)
        return None if found is None else found[0]

    def _get(self, name: str) -> tuple[bytes, Mark] | None:
        """What lies under a name, and the mark that changes with it."""
        with self._said():
            try:
                found = obstore.get(self._objects, name)
            except (NotFoundError, FileNotFoundError):
                return None
            meta = found.meta
            return bytes(found.bytes()), {"e_tag": meta["e_tag"], "version": meta["version"]}

    def create(self, name: str, data: bytes, *, private: bool = False) -> bool:
        with self._said():
            try:
                obstore.put(self._objects, name, data, mode="create")
            except (AlreadyExistsError, PreconditionError):
                # An answer may have been lost and the request sent again: then what is there is ours.
                return self.read(name) == data
            except (NotFoundError, FileNotFoundError) as e:
                raise StoreError(f"{self.address}: {in_one_line(e)}") from e
        return True

    def replace(self, name: str, data: bytes) -> None:
        with self._said():
            obstore.put(self._objects, name, data)

    def swap(self, name: str, data: bytes, mark: Mark) -> Mark | None:
        """Replace what lies there if it is unchanged since it had ``mark``; the new mark, or None where it is not."""
        with self._said():
            try:
                wanted: Any = {k: v for k, v in mark.items() if v is not None}
                return dict(obstore.put(self._objects, name, data, mode=wanted))  # type: ignore[arg-type]
            except (PreconditionError, AlreadyExistsError, NotFoundError, FileNotFoundError):
                found = self._get(name)
                return found[1] if found is not None and found[0] == data else None

    def names(self, prefix: str) -> list[str]:
        with self._said():
            return sorted(m["path"] for page in obstore.list(self._objects, prefix or None) for m in page)

    def sizes(self, prefix: str) -> dict[str, int]:
        return {s.name: s.bytes for s in self.objects(prefix)}

    def is_there(self, name: str) -> bool:
        with self._said():
            try:
                obstore.head(self._objects, name)
            except (NotFoundError, FileNotFoundError):
                return False
        return True

    def delete(self, names: Iterable[str]) -> None:
        gone = list(names)
        if not gone:
            return
        self._present.difference_update(gone)
        with self._said(), suppress(NotFoundError, FileNotFoundError):
            obstore.delete(self._objects, gone)

    # --- leases ---

    def hold(self, name: str) -> Lease:
        with self._guard:
            if name in self._leases:
                raise HeldByAnotherError(Holding(name, os.getpid(), own=True))
            lease = ObjectLease(self, name)
            lease.take()
            self._leases[name] = lease
            if self._renewing is None or not self._renewing.is_alive():
                self._renewing = threading.Thread(target=self._renew, daemon=True)
                self._renewing.start()
            return lease

    def _renew(self) -> None:
        while True:
            time.sleep(self.options.lease_seconds / 3)
            with self._guard:
                leases = list(self._leases.values())
            if not leases:
                continue
            for lease in leases:
                # A store that cannot be reached is asked again; a lease that was not renewed in time counts as lost.
                with suppress(StoreError):
                    lease.renew()

    def released(self, name: str) -> None:
        with self._guard:
            self._leases.pop(name, None)

    def holdings(self) -> list[Holding]:
        found = []
        for name in self.names(LOCKS):
            held = self._get(name)
            if held is not None and not _is_over(held[0], self.options):
                own = name.removeprefix(LOCKS).removesuffix(".json")
                found.append(holding_of(own, held[0].decode(), own in self._leases))
        return found

    # --- objects of others ---

    def objects(self, prefix: str = "") -> list[Stored]:
        with self._said():
            found = [m for page in obstore.list(self._objects, prefix or None) for m in page]
        return sorted((Stored(m["path"], m["size"], m["e_tag"] or "") for m in found), key=lambda s: s.name)

    def object(self, name: str) -> Stored | None:
        with self._said():
            try:
                found = obstore.head(self._objects, name)
            except (NotFoundError, FileNotFoundError):
                return None
        return Stored(name, found["size"], found["e_tag"] or "")

    def put_file(self, name: str, path: Path) -> None:
        """A local file under a name, whatever was there; large ones in parts."""
        with self._said():
            obstore.put(self._objects, name, path)

    def chunks(self, name: str) -> Iterator[bytes]:
        try:
            with self._said():
                for chunk in obstore.get(self._objects, name).stream(min_chunk_size=CHUNK):
                    yield bytes(chunk)
        except (NotFoundError, StoreError) as e:
            raise OSError(5, str(e)) from e

    # --- data files ---

    def local(self, paths: Iterable[str]) -> list[str]:
        wanted = list(paths)
        lacking = [p for p in dict.fromkeys(wanted) if not _used(p)]
        if len(lacking) > 1:
            with ThreadPoolExecutor(TRANSFERS) as pool:
                list(pool.map(self._fetch, lacking))
        elif lacking:
            self._fetch(lacking[0])
        return wanted

    def _fetch(self, path: str) -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{uuid.uuid4().hex}.part")
        try:
            with self._said(), part.open("wb") as f:
                try:
                    for chunk in obstore.get(self._objects, self.name(path)).stream(min_chunk_size=CHUNK):
                        f.write(chunk)
                except (NotFoundError, FileNotFoundError):
                    raise FileNotFoundError(f"{self.url(path)} is not there") from None
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def is_known(self, path: str) -> bool:
        return path in self._published or super().is_known(path) or self.name(path) in self._present

    def note_there(self, paths: Iterable[str]) -> None:
        self._published.update(paths)

    def share(self, paths: Iterable[str]) -> None:
        lacking = [p for p in dict.fromkeys(paths) if not self._is_put(p)]
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(self._put, lacking))

    def _is_put(self, path: str) -> bool:
        return path in self._published or path in self.described or self.name(path) in self._present

    def _put(self, path: str) -> None:
        with self._said():
            obstore.put(self._objects, self.name(path), Path(path))
        self._present.add(self.name(path))

    def url(self, path: str | Path) -> str:
        return f"{self.address}/{self.name(path)}"

    def delta_options(self) -> dict[str, str]:
        found = {
            "timeout": f"{PATIENCE_SECONDS}s",
            "connect_timeout": f"{CONNECT_SECONDS}s",
            "max_retries": str(RETRIES),
            "retry_timeout": f"{RETRY_SECONDS}s",
            "backoff_config.init_backoff": "50ms",
            "backoff_config.max_backoff": "2s",
            "backoff_config.base": "2",
        }
        if scheme(self.address) == "s3":
            found["aws_conditional_put"] = "etag"
            found |= {f"aws_{k}": v for k, v in self._config().items()}
            if self._is_plain():
                found["allow_http"] = "true"
        return found

    def _client(self) -> dict[str, Any]:
        # Given any option, the client no longer reads AWS_ALLOW_HTTP itself.
        wait = {"timeout": timedelta(seconds=PATIENCE_SECONDS), "connect_timeout": timedelta(seconds=CONNECT_SECONDS)}
        return {**wait, "allow_http": True} if self._is_plain() else wait

    def _is_plain(self) -> bool:
        return (self._endpoint() or "").startswith("http://")

    def _endpoint(self) -> str | None:
        return self.options.endpoint or os.environ.get("AWS_ENDPOINT_URL")

    def table_properties(self) -> dict[str, str]:
        # Opening asks twice for every commit since the last checkpoint; the default is one in a hundred.
        return {"delta.checkpointInterval": "20"}

    def delta_address(self, path: Path) -> str:
        return self.url(path)

    @property
    def arrow_reads(self) -> bool:
        # Arrow knows Google and Azure by other names and rules: local copies serve, at the price of whole files.
        return scheme(self.address) == "s3"

    def arrow_files(self, table: Path) -> pafs.FileSystem:
        if not self.arrow_reads:
            return pafs.SubTreeFileSystem(str(table), pafs.LocalFileSystem())
        endpoint = self._endpoint()
        files: pafs.FileSystem = pafs.S3FileSystem(
            endpoint_override=endpoint.split("://", 1)[-1] if endpoint else None,
            scheme="http" if self._is_plain() else "https",
            region=self.options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION"),
            retry_strategy=pafs.AwsStandardS3RetryStrategy(max_attempts=RETRIES),
            connect_timeout=CONNECT_SECONDS,
            request_timeout=PATIENCE_SECONDS,
        )
        return pafs.SubTreeFileSystem(self.url(table).split("://", 1)[1], files)

    def newest_version(self, table: Path) -> int | None:
        known = self._versions.get(table)
        if known is None:
            log = f"{self.name(table)}/_delta_log/"
            names = [n.removeprefix(log) for n in self.names(log)]
            known = max((int(n[:20]) for n in names if n.endswith(".json") and n[:20].isdigit()), default=-1)
        while self.is_there(f"{self.name(table)}/_delta_log/{known + 1:020d}.json"):
            known += 1
        if known < 0:
            return None
        self._versions[table] = known
        return known

    def remove_below(self, folder: Path) -> None:
        self.forget_below(folder)
        self.delete(self.names(f"{self.name(folder)}/"))

    def trim(self) -> None:
        """Remove the copies that were not used for longest, until the others fit; those in use stay."""
        files = sorted(_sizes_below(self.folder), key=lambda f: f[0])
        over = sum(size for _, size, _ in files) - int(self.options.cache_gb * 2**30)
        before = time.time() - IN_USE_SECONDS
        for used, size, path in files:
            if over <= 0 or used > before:
                break
            path.unlink(missing_ok=True)
            over -= size

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Whatever the store refuses or does not answer, in a sentence that names it."""
        try:
            yield
        except (NotFoundError, AlreadyExistsError, PreconditionError):
            raise
        except BaseError as e:
            raise StoreError(f"{self.address}: {in_one_line(e)}") from e


class ObjectLease(Lease):
    """A small object: holder, host, a token of its own, and until when it counts. Renewed while its process lives."""

    def __init__(self, store: ObjectStore, name: str):
        self.store, self.name = store, name
        self.object = f"{LOCKS}{name}.json"
        self.token = uuid.uuid4().hex
        self.mark: Mark | None = None
        self.renewed = 0.0
        self._guard = threading.Lock()

    def _note(self) -> bytes:
        until = time.time() + self.store.options.lease_seconds
        return json.dumps(json.loads(note_of_this_process()) | {"token": self.token, "until": until}).encode()

    def take(self) -> None:
        """HeldByAnotherError where another holds it and was heard of in time."""
        began, note = time.monotonic(), self._note()
        if not self.store.create(self.object, note):
            there = self.store._get(self.object)
            if there is not None and not _is_over(there[0], self.store.options):
                raise HeldByAnotherError(holding_of(self.name, there[0].decode()))
            if there is None or self.store.swap(self.object, note, there[1]) is None:
                raise HeldByAnotherError(Holding(self.name))
        found = self.store._get(self.object)
        if found is None or json.loads(found[0]).get("token") != self.token:
            raise HeldByAnotherError(Holding(self.name))
        self.mark, self.renewed = found[1], began

    def renew(self) -> None:
        with self._guard:
            began = time.monotonic()
            if self.mark is None:
                return
            self.mark = self.store.swap(self.object, self._note(), self.mark)
            if self.mark is not None:
                self.renewed = began

    def _is_in_time(self) -> bool:
        return self.mark is not None and time.monotonic() - self.renewed < self.store.options.lease_seconds

    def is_ours(self) -> bool:
        if not self._is_in_time():
            # Nobody may have taken it yet: then it is renewed and ours.
            self.renew()
        if not self._is_in_time():
            return False
        return self._has_our_token()

    def _has_our_token(self) -> bool:
        found = self.store.read(self.object)
        return found is not None and json.loads(found).get("token") == self.token

    def release(self) -> None:
        """One that is out of time is left to who took it, or to its end."""
        self.store.released(self.name)
        with self._guard:
            if self._is_in_time() and self._has_our_token():
                self.store.delete([self.object])
            self.mark = None


def _is_over(note: bytes, options: StoreOptions) -> bool:
    """Whether a holder was not heard of for so long that it is gone, whichever of the two clocks is ahead."""
    try:
        return time.time() > float(json.loads(note)["until"]) + options.clock_skew_seconds
    except (ValueError, KeyError, TypeError):
        return False


def _used(path: str) -> bool:
    """Whether a local copy is there; it is marked as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def _cache_of(address: str, options: StoreOptions) -> Path:
    """Where local copies of an object store lie: below the named folder, or below the user's cache."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    base = Path(options.cache).expanduser() if options.cache else home / "huaxiang"
    key = hashlib.sha256(f"{options.endpoint or ''} {address}".encode()).hexdigest()[:16]
    return base.absolute() / "lakes" / key


def _sizes_below(folder: Path) -> Sequence[tuple[float, int, Path]]:
    """Every file below a folder with its last use and its size; what vanishes meanwhile is passed over."""
    found = []
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            stat = path.stat()
            if path.is_file():
                found.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    return found
