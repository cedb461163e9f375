"""A draft: the text of a definition that somebody builds, with every text before it, so that nothing done is lost."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

MOST_STEPS = 50
"""Texts that are kept to go back to."""


@dataclass(frozen=True)
class AudienceDraft:
    """``texts`` in order of time, of which that ``at`` is the one that counts; those behind it were undone.

    ``audience`` is the id that it is saved under, empty for a new one without a name; ``began`` is the text of the file
    that it began with, None for a new one.
    """

    audience: str
    texts: tuple[str, ...]
    at: int = 0
    began: str | None = None

    @property
    def text(self) -> str:
        return self.texts[self.at]

    @property
    def can_undo(self) -> bool:
        return self.at > 0

    @property
    def can_redo(self) -> bool:
        return self.at < len(self.texts) - 1

    @property
    def is_changed(self) -> bool:
        """Whether it says something else than the file that it began with."""
        return self.text != self.began

    def said(self, text: str) -> AudienceDraft:
        """With a further text; what was undone before is forgotten, and the oldest where there are too many."""
        if text == self.text:
            return self
        texts = (*self.texts[: self.at + 1], text)[-MOST_STEPS:]
        return replace(self, texts=texts, at=len(texts) - 1)

    def undone(self) -> AudienceDraft:
        return replace(self, at=max(self.at - 1, 0))

    def redone(self) -> AudienceDraft:
        return replace(self, at=min(self.at + 1, len(self.texts) - 1))

    def saved_as(self, audience: str, text: str) -> AudienceDraft:
        """After it was saved: the file says what it says."""
        return replace(self.said(text), audience=audience, began=text)

    def as_json(self) -> str:
        plain = {"audience": self.audience, "texts": self.texts, "at": self.at, "began": self.began}
        return json.dumps(plain, ensure_ascii=False)

    @classmethod
    def of_json(cls, text: str) -> AudienceDraft:
        plain: dict[str, Any] = json.loads(text)
        return cls(plain["audience"], tuple(plain["texts"]), plain["at"], plain["began"])
