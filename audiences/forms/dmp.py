"""Lines of Ocean Engine's DMP (巨量引擎 DMP 数据源): base64 of one protobuf message of up to 10,000 ids.

``message DmpData { repeated IdItem idList = 1; }``
``message IdItem { optional uint32 timestamp = 1; required DataType dataType = 2; required string id = 3; repeated string tags = 4; }``
The two messages are encoded here; a test holds lines that Google's library made of the same messages against them.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import NamedTuple

DATA_TYPES = {
    "IMEI": 0,
    "IDFA": 1,
    "UID": 2,
    "IMEI_MD5": 4,
    "IDFA_MD5": 5,
    "MOBILE_HASH_SHA256": 6,
    "OAID": 7,
    "OAID_MD5": 8,
}
MOST_IDS = 10_000
"""Ids of one line."""


class IdItem(NamedTuple):
    """One id of a person. Ids are written in small letters."""

    data_type: int
    id: str
    tags: tuple[str, ...] = ()
    timestamp: int | None = None


def dmp_line(items: Iterable[IdItem]) -> bytes:
    """The items as one line, without its end."""
    return base64.b64encode(b"".join(_field(1, _item(i)) for i in items))


def _item(item: IdItem) -> bytes:
    stamp = b"" if item.timestamp is None else b"\x08" + _varint(item.timestamp)
    tags = b"".join(_field(4, t.encode()) for t in item.tags)
    return stamp + b"\x10" + _varint(item.data_type) + _field(3, item.id.lower().encode()) + tags


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes: wire type 2."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
