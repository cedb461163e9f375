"""Bytes of a delivered text file: unpacked, checked and turned into UTF-8 as they are read."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from features.sources import Mapping
from schemas.errors import InputError

GZIP = b"\x1f\x8b"


class Utf8(io.RawIOBase):
    """A byte stream as UTF-8 without BOM, checked on the way; InputError names the first byte that is wrong.

    Bytes are counted after unpacking, from 0, as an editor of the unpacked file counts them.
    """

    def __init__(self, stream: BinaryIO, name: str, mapping: Mapping):
        self.stream, self.name, self.mapping = stream, name, mapping
        self.read_bytes = 0
        self.decoder = codecs.getincrementaldecoder(mapping.encoding)()
        self.rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self.rest:
            data = self.stream.read(max(len(view), 1 << 16))
            text = self._decoded(data, final=not data)
            if not data and not text:
                return 0
            self.rest = text
        taken = self.rest[: len(view)]
        self.rest = self.rest[len(view) :]
        view[: len(taken)] = taken
        return len(taken)

    def _decoded(self, data: bytes, final: bool) -> bytes:
        pending = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(data, final)
        except UnicodeDecodeError as e:
            at = self.read_bytes - pending + e.start
            other = "gb18030" if self.mapping.encoding == "utf-8" else "utf-8"
            raise InputError(
                f"{self.name}: byte {at:,} (0x{e.object[e.start]:02X}) is not {self.mapping.encoding.upper()}; "
                f"save the file as {self.mapping.encoding.upper()}, or say `encoding: {other}` in {self.mapping.name}.yaml"
            ) from None
        if self.read_bytes == 0 and text.startswith("\ufeff"):
            text = text[1:]
        self.read_bytes += len(data)
        if "\x00" in text:
            raise InputError(f"{self.name}: holds NUL characters near byte {self.read_bytes:,}; it is no text file")
        return text.encode("utf-8")


def open_text(path: Path, start: bytes, name: str, mapping: Mapping) -> Utf8:
    raw: BinaryIO = pa.OSFile(str(path), "rb")
    if start[:2] == GZIP:
        raw = pa.CompressedInputStream(raw, "gzip")
    return Utf8(raw, name, mapping)
