"""Files that are sent on: by HTTP with a token and by SFTP, whole or not, once, and gone on with after a cut."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from audiences.platforms import Destination
from jobs.audiences.export import Exported, export
from jobs.audiences.upload import UPLOADED
from project.audience_tables import deliveries
from schemas.errors import ConfigurationError, StoreError
from tests.audiences.lake_shop import Shop

TOKEN = "s3cret-token"
PLATFORM = """\
name: {zh: 平台, en: Platform}
description: {zh: 平台, en: Platform}
form: txt
columns: [{id: phone, hash: sha256}]
limits: {rows: 1}
"""


@pytest.fixture
def shop(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    shutil.copytree(template, tmp_path / "shop")
    (tmp_path / "shop" / "platforms").mkdir()
    monkeypatch.setenv("SHOP_TOKEN", TOKEN)
    return Shop.at(tmp_path / "shop")


def sent(shop: Shop, to: str) -> Exported:
    (shop.folder / "platforms" / "p.yaml").write_text(PLATFORM + f"to: {to}\n", encoding="utf-8")
    return export(shop.project, "beijing", requested_by="li", to="p")


# --- HTTP ---


class Taker:
    """A server that takes what is put, until it shall not."""

    def __init__(self) -> None:
        self.taken: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[int, int | None] = {}
        """What is answered to the request of that number: a status, or None for a connection that drops."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                number = len(outer.asked)
                outer.asked.append(self.path)
                outer.headers.append(dict(self.headers.items()))
                answer = outer.answers.get(number, 201)
                if answer is None:
                    self.rfile.read(10)
                    self.connection.close()
                    return
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if answer == 201:
                    outer.taken[self.path] = content
                self.send_response(answer)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/in"


@pytest.fixture
def taker() -> Iterator[Taker]:
    found = Taker()
    yield found
    found.server.shutdown()
    found.server.server_close()


def by_http(taker: Taker, **more: str) -> str:
    return json.dumps({"http": {"url": taker.url, "token": "SHOP_TOKEN", **more}})


def test_files_are_put_once_with_token_and_digest(shop: Shop, taker: Taker) -> None:
    done = sent(shop, by_http(taker))
    assert done.uploaded == {"to": taker.url, "files": 3}
    assert list(taker.taken) == [f"/in/beijing-2026-03-10-p-{i}.txt" for i in (1, 2, 3)]
    for part, content, headers in zip(done.parts, taker.taken.values(), taker.headers, strict=True):
        assert content == (Path(done.folder) / part["file"]).read_bytes()
        assert headers["Authorization"] == f"Bearer {TOKEN}"
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        assert headers["Content-Digest"] == f"sha-256=:{digest}:"
    assert TOKEN not in "".join(p.read_text("utf-8") for p in Path(done.folder).iterdir())
    again = sent(shop, by_http(taker))
    assert again.already_delivered and len(taker.asked) == 3, "what was confirmed is not sent again"


@pytest.mark.parametrize("answer", [None, 500, 403, 302])
def test_what_was_not_confirmed_is_sent_by_the_next_export_and_nothing_else(
    shop: Shop, taker: Taker, answer: int | None
) -> None:
    taker.answers = {1: answer}
    with pytest.raises(StoreError, match=r"beijing-2026-03-10-p-2\.txt was not taken.*export again") as e:
        sent(shop, by_http(taker))
    assert TOKEN not in str(e.value) and len(taker.taken) == 1, "no redirect was followed, and nothing came after"
    done = sent(shop, by_http(taker))
    assert done.already_delivered and done.uploaded == {"to": taker.url, "files": 3}
    assert [p[-5] for p in taker.asked] == ["1", "2", "2", "3"] and len(taker.taken) == 3


def test_another_place_knows_nothing_of_what_was_sent_to_the_first(shop: Shop, taker: Taker) -> None:
    sent(shop, by_http(taker))
    taker.url += "/other"
    sent(shop, by_http(taker))
    assert len(taker.taken) == 6


def test_a_secret_that_is_not_set_stops_before_anything_is_written(
    shop: Shop, taker: Taker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(ConfigurationError, match="environment variable SHOP_TOKEN"):
        sent(shop, by_http(taker))
    assert deliveries(shop.lake) == [] and not (shop.folder / "exports").exists()


def test_a_token_cannot_begin_another_header(shop: Shop, taker: Taker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "x\r\nX-Injected: 1")
    with pytest.raises(ConfigurationError, match="holds a line end"):
        sent(shop, by_http(taker))
    assert taker.asked == []


@pytest.mark.parametrize(
    "to",
    [
        {"http": {"url": "http://example.com/in", "token": "T"}},
        {"http": {"url": "https://u:p@example.com/in", "token": "T"}},
        {"http": {"url": "https://example.com/in?token=x", "token": "T"}},
        {"http": {"url": "https://example.com/in\r\nX: y", "token": "T"}},
        {"http": {"url": "file:" + "///etc", "token": "T"}},
        {"http": {"url": "https://example.com", "token": "the secret itself"}},
        {"http": {"url": "https://example.com", "token": "T", "header": "X: y\r\nZ"}},
        {"sftp": {"host": "h", "user": "u", "password": "P"}},
        {"sftp": {"host": "h", "user": "u", "password": "P", "key": "K", "host_key": "ssh-ed25519 AAAA"}},
        {"sftp": {"host": "-oProxyCommand=x", "user": "u", "password": "P", "host_key": "ssh-ed25519 AAAA"}},
        {"sftp": {"host": "h", "user": "u", "password": "P", "host_key": "ssh-ed25519 AAAA\n* ssh-rsa BBBB"}},
        {"folder": "x", "http": {"url": "https://example.com", "token": "T"}},
        {},
    ],
)
def test_places_that_give_a_secret_or_contacts_away_are_refused(to: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Destination.model_validate(to)


# --- SFTP ---


class SftpHost:
    """asyncssh's own server on the loopback, whose writes can be cut off."""

    def __init__(self, folder: Path):
        self.folder, self.cut_after = folder, -1
        self.written: list[tuple[int, int]] = []
        key = asyncssh.generate_private_key("ssh-ed25519")
        self.host_key = " ".join(key.export_public_key().decode().split()[:2])
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        outer = self

        class Server(asyncssh.SSHServer):
            def password_auth_supported(self) -> bool:
                return True

            def validate_password(self, username: str, password: str) -> bool:
                return (username, password) == ("shop", TOKEN)

        class Files(asyncssh.SFTPServer):
            def __init__(self, channel: Any):
                super().__init__(channel, chroot=str(folder).encode())

            def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
                if 0 <= outer.cut_after <= len(outer.written):
                    raise asyncssh.SFTPFailure("cut off")
                outer.written.append((offset, len(data)))
                return super().write(file_obj, offset, data)

        async def listening() -> Any:
            return await asyncssh.listen(
                "127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=Files, allow_scp=False
            )

        self.server = asyncio.run_coroutine_threadsafe(listening(), self.loop).result()
        self.port = self.server.get_port()

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)

    def to(self, **more: Any) -> str:
        asked = {"host": "127.0.0.1", "port": self.port, "user": "shop", "password": "SHOP_TOKEN", "folder": "/in"}
        return json.dumps({"sftp": {**asked, "host_key": self.host_key, **more}})


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SftpHost]:
    (tmp_path / "served").mkdir()
    found = SftpHost(tmp_path / "served")
    yield found
    found.stop()


def test_files_go_to_an_sftp_server_whole_and_once(shop: Shop, host: SftpHost) -> None:
    done = sent(shop, host.to())
    assert done.uploaded == {"to": f"sftp://shop@127.0.0.1:{host.port}/in/beijing", "files": 3}
    there = sorted((host.folder / "in" / "beijing").iterdir())
    assert [p.name for p in there] == [p["file"] for p in done.parts]
    assert [p.read_bytes() for p in there] == [(Path(done.folder) / p.name).read_bytes() for p in there]
    writes = len(host.written)
    assert sent(shop, host.to()).already_delivered and len(host.written) == writes


def test_a_cut_transfer_goes_on_where_it_was_cut(shop: Shop, host: SftpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.audiences.upload.PIECE", 20)
    host.cut_after = 2
    with pytest.raises(StoreError, match="goes on where it was cut off"):
        sent(shop, host.to())
    (part,) = (host.folder / "in" / "beijing").iterdir()
    assert part.name.endswith(".part") and part.stat().st_size == 40, "no name of a file that is not whole"
    host.cut_after = -1
    done = sent(shop, host.to())
    assert done.already_delivered and host.written[2][0] == 40
    there = sorted((host.folder / "in" / "beijing").iterdir())
    assert [p.read_bytes() for p in there] == [(Path(done.folder) / p["file"]).read_bytes() for p in done.parts]
    assert set(json.loads((Path(done.folder) / UPLOADED).read_text("utf-8"))["files"]) == {p.name for p in there}


def test_a_server_with_another_key_gets_nothing(shop: Shop, host: SftpHost) -> None:
    other = " ".join(asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().split()[:2])
    with pytest.raises(StoreError, match="HostKeyNotVerifiable"):
        sent(shop, host.to(host_key=other))
    assert host.written == []


def test_a_wrong_password_is_said_without_it(shop: Shop, host: SftpHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "wrong-one")
    with pytest.raises(StoreError, match="PermissionDenied") as e:
        sent(shop, host.to())
    assert "wrong-one" not in str(e.value)
