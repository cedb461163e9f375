"""Bytes of a delivered text file: unpacked, checked and turned into UTF-8 as they are read."""

from __future__ import annotations

import codecs
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
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
        self.cut_off = b""
        self.begun = False
        self.rest = memoryview(b"")
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer unless the file ends: Arrow takes what comes for one block, and no line may exceed a block."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view) and (self.rest or not self.ended):
            if not self.rest:
                data = self.stream.read(max(len(view) - filled, 1 << 16))
                self.ended = not data
                self.rest = memoryview(self._decoded(data, final=self.ended))
            part = self.rest[: len(view) - filled]
            view[filled : filled + len(part)] = part
            self.rest = self.rest[len(part) :]
            filled += len(part)
        return filled

    def _decoded(self, data: bytes, final: bool) -> bytes:
        text = self._utf8(data, final) if self.mapping.encoding == "utf-8" else self._recoded(data, final)
        if not self.begun and text:
            self.begun = True
            text = text.removeprefix(codecs.BOM_UTF8)
        if b"\x00" in text:
            raise InputError(f"{self.name}: holds NUL characters near byte {self.read_bytes:,}; it is no text file")
        return text

    def _utf8(self, data: bytes, final: bool) -> bytes:
        """The bytes themselves: decoding them would take several times as long as Arrow's look at them does."""
        data = self.cut_off + data if self.cut_off else data
        whole = len(data) if final else _whole_signs(data)
        data, self.cut_off = data[:whole], data[whole:]
        if not _is_utf8(data):
            try:
                data.decode()
            except UnicodeDecodeError as e:
                raise self._refusal(self.read_bytes + e.start, e) from None
        self.read_bytes += len(data)
        return data

    def _recoded(self, data: bytes, final: bool) -> bytes:
        pending = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(data, final)
        except UnicodeDecodeError as e:
            raise self._refusal(self.read_bytes - pending + e.start, e) from None
        self.read_bytes += len(data)
        return text.encode()

    def _refusal(self, at: int, e: UnicodeDecodeError) -> InputError:
        said, other = self.mapping.encoding, "gb18030" if self.mapping.encoding == "utf-8" else "utf-8"
        return InputError(
            f"{self.name}: byte {at:,} (0x{e.object[e.start]:02X}) is not {said.upper()}; "
            f"save the file as {said.upper()}, or say `encoding: {other}` in {self.mapping.name}.yaml"
        )


def _whole_signs(data: bytes) -> int:
    """How many bytes are whole signs of UTF-8: a read may end within one."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            return len(data) - back if back < (2 if byte < 0xE0 else 3 if byte < 0xF0 else 4) else len(data)
        if byte < 0x80:
            break
    return len(data)


def _is_utf8(data: bytes) -> bool:
    ends = np.array([0, len(data)], dtype=np.int64)
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, pa.py_buffer(ends), pa.py_buffer(data)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


@dataclass(frozen=True)
class ArrivedFile:
    """A file to read: where it lies, what errors call it, its first bytes, and how much of it makes one block."""

    path: Path
    name: str
    mapping: Mapping
    start: bytes
    block_bytes: int

    @property
    def block_size(self) -> str:
        """For messages: ``16 MiB``."""
        small = self.block_bytes < 1 << 20
        return f"{self.block_bytes:,} bytes" if small else f"{self.block_bytes >> 20} MiB"


def open_text(file: ArrivedFile) -> Utf8:
    raw: BinaryIO = pa.OSFile(str(file.path), "rb")
    if file.start[:2] == GZIP:
        raw = pa.CompressedInputStream(raw, "gzip")
    return Utf8(raw, file.name, file.mapping)
