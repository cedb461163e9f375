"""A text in both languages, as everything is that a marketer reads."""

from __future__ import annotations

from typing import Any, NamedTuple


class Text(NamedTuple):
    """A text in both languages."""

    zh: str
    en: str

    def __add__(self, other: Any) -> Text:
        return Text(
            self.zh + (other.zh if isinstance(other, Text) else other),
            self.en + (other.en if isinstance(other, Text) else other),
        )
