"""Sending a delivery's files on: by HTTP with a token, or by SFTP. What was sent is kept, so that a repetition goes on.

A delivery lies whole in the outbox before anything of it is sent. A file counts as sent when the receiver has confirmed
all of it; ``uploaded.json`` beside the files says which those are. Without redirects, so that a token goes nowhere else.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlsplit

from audiences.platforms import Destination, HttpPlace, SftpPlace
from jobs.audiences.outbox import Outbox
from schemas.errors import ConfigurationError, StoreError

if TYPE_CHECKING:
    import asyncssh

UPLOADED = "uploaded.json"
PATIENCE_SECONDS = 60
"""How long an answer is waited for."""
PIECE = 1 << 20


class Receiver(Protocol):
    """Where files are sent to."""

    def place(self) -> str:
        """As a person may read it: never with a secret."""

    def send(self, path: Path, sha256: str) -> None:
        """All of a file under its name; StoreError where it was not confirmed. Sent twice it is the same."""


def receiver_of(to: Destination | None, audience: str) -> Receiver | None:
    """The receiver with its secrets out of the environment; None where nothing is sent on.

    ConfigurationError names the variable of a secret that is not set: asked before anything is written.
    """
    if to is None or (to.http is None and to.sftp is None):
        return None
    if to.http is not None:
        return HttpReceiver(to.http, _secret(to.http.token))
    assert to.sftp is not None
    key, password = to.sftp.key, to.sftp.password
    return SftpReceiver(to.sftp, audience, key and _secret(key), None if password is None else _secret(password))


def send_files(outbox: Outbox, label: str, manifest: Mapping[str, Any], receiver: Receiver) -> dict[str, Any]:
    """Send what was not sent yet, in order, and note each file; what the note then says."""
    noted = outbox.note(label, UPLOADED)
    known = {} if noted is None else json.loads(noted)
    # Another place knows nothing of what was sent to the one before.
    done: dict[str, str] = known.get("files", {}) if known.get("to") == receiver.place() else {}
    for listed in manifest["files"]:
        name, checksum = listed["file"], listed["checksum"]
        if done.get(name) == checksum:
            continue
        with TemporaryDirectory(prefix="huaxiang-") as scratch:
            receiver.send(outbox.local(label, name, Path(scratch)), checksum.removeprefix("sha256:"))
        done = {**done, name: checksum}
        outbox.write_note(label, UPLOADED, json.dumps({"to": receiver.place(), "files": done}, indent=2).encode())
    return {"to": receiver.place(), "files": len(done)}


def _secret(variable: str) -> str:
    found = os.environ.get(variable, "")
    if not found:
        raise ConfigurationError(f"the environment variable {variable}, which a platform's `to` names, is not set")
    if not found.strip().isprintable():
        # It would end the header that it stands in, and begin another.
        raise ConfigurationError(f"the environment variable {variable} holds a line end; a secret is one line")
    return found.strip()


@dataclass(frozen=True)
class HttpReceiver:
    """``PUT URL/FILE`` with a token. Everything but a 2xx answer is a failure."""

    to: HttpPlace
    token: str

    def place(self) -> str:
        return self.to.url.rstrip("/")

    def send(self, path: Path, sha256: str) -> None:
        parts = urlsplit(self.to.url)
        host, port = str(parts.hostname), parts.port
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=PATIENCE_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
        headers = {
            self.to.header: f"{self.to.scheme} {self.token}".strip(),
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
            "Content-Digest": f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:",
        }
        try:
            with path.open("rb") as content:
                connection.request("PUT", f"{parts.path.rstrip('/')}/{quote(path.name, safe='')}", content, headers)
                answer = connection.getresponse()
            answer.read(PIECE)
        except (OSError, http.client.HTTPException) as e:
            raise StoreError(self._said(path, str(e) or type(e).__name__)) from e
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise StoreError(self._said(path, f"answer {answer.status} {answer.reason}"))

    def _said(self, path: Path, why: str) -> str:
        plain = why.replace(self.token, "***")
        return (
            f"{self.place()}: {path.name} was not taken ({plain}). The delivery lies in the outbox; "
            "export again, and what was not sent is sent"
        )


@dataclass(frozen=True)
class SftpReceiver:
    """Files in ``FOLDER/AUDIENCE``: written as ``NAME.part``, gone on with where one was cut off, then renamed."""

    to: SftpPlace
    below: str
    key: str | None
    password: str | None

    def place(self) -> str:
        return f"sftp://{self.to.user}@{self.to.host}:{self.to.port}/{self.to.folder.strip('/')}/{self.below}"

    def send(self, path: Path, sha256: str) -> None:
        import asyncio

        try:
            import asyncssh
        except ImportError:
            raise ConfigurationError("sftp needs another package: pip install 'huaxiang[sftp]'") from None
        try:
            asyncio.run(self._sent(path, sha256))
        except (OSError, asyncssh.Error) as e:
            raise StoreError(
                f"{self.place()}: {path.name} was not taken ({type(e).__name__}: {e}). The delivery lies in the outbox; "
                "export again, and it goes on where it was cut off"
            ) from e

    async def _sent(self, path: Path, sha256: str) -> None:
        import asyncssh

        hosts = asyncssh.import_known_hosts(f"{self._known_host()} {self.to.host_key}\n")
        async with (
            asyncssh.connect(
                self.to.host,
                self.to.port,
                username=self.to.user,
                password=self.password,
                client_keys=[self.key] if self.key else None,
                known_hosts=hosts,
                config=None,
                agent_path=None,
                connect_timeout=PATIENCE_SECONDS,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            folder = f"{self.to.folder.rstrip('/')}/{self.below}"
            await sftp.makedirs(folder, exist_ok=True)
            await self._put(sftp, path, f"{folder}/{path.name}", sha256)

    def _known_host(self) -> str:
        return self.to.host if self.to.port == 22 else f"[{self.to.host}]:{self.to.port}"

    async def _put(self, sftp: asyncssh.SFTPClient, path: Path, target: str, sha256: str) -> None:
        # The name says of which content it is a part, so what is there already is the beginning of this one.
        part, size = f"{target}.{sha256[:16]}.part", path.stat().st_size
        there = (await sftp.getsize(part)) or 0 if await sftp.exists(part) else 0
        there = there if there <= size else 0
        async with sftp.open(part, "rb+" if there else "wb") as out:
            with path.open("rb") as content:
                content.seek(there)
                while piece := content.read(PIECE):
                    await out.write(piece, there)
                    there += len(piece)
        if (await sftp.getsize(part)) != size:
            raise OSError(f"{part} has not the size that was sent")
        await sftp.posix_rename(part, target)
