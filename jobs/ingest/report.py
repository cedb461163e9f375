"""What an ingest says: what became of every file, in figures, findings and words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from jobs.ingest.findings import Finding, said, together
from lake.refused import Attempt
from project.inbox import unfinished_in_words

MOST_FINDINGS = 20
"""Kinds of findings that are printed of one feed; there are more of reasons only."""
SHOWN = 5
"""Names of files in a sentence; the count is always whole."""
ROW_COUNTS = {
    "rows_read": "rows read",
    "rows_silver": "to silver",
    "rows_duplicate": "duplicates",
    "rows_quarantined": "quarantined",
    "rows_not_selected": "not selected",
    "rows_late": "late",
}
_ALWAYS = ("rows_read", "rows_silver")


@dataclass
class FileReport:
    """What became of one file: ``taken``, ``known`` (before), ``dismissed`` (before), or ``failed`` with what to do.

    ``reasons`` are those of its quarantined rows, ``unread`` texts that are absent because they are no phone or address,
    by form, ``remarks`` what else should be known; each with a count, the first row and a masked example.
    """

    feed: str
    source: str
    file: str
    state: str
    rows_read: int = 0
    rows_silver: int = 0
    rows_duplicate: int = 0
    rows_quarantined: int = 0
    rows_not_selected: int = 0
    rows_late: int = 0
    message: str | None = None
    reasons: list[Finding] = field(default_factory=list)
    unread: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)


@dataclass
class IngestReport:
    """Every file that was looked at. ``stopped`` names feeds of which nothing was published, with the reason.

    ``unmatched`` are files that no mapping names, ``unfinished`` those whose names say that they are still being written.
    ``without_files`` names mappings that match no file of the inbox, and never did; ``waiting`` files that were refused
    before and are in the inbox no more. ``notes`` say what stays empty of the mappings through which files were taken.
    ``attempts`` (no part of what is shown) are what is remembered, and ``twins`` files with the checksum of another one.
    """

    received_at: datetime
    files: list[FileReport] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    unmatched: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    without_files: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    recovered: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.attempts: list[Attempt] = []
        self.twins: list[tuple[FileReport, str]] = []

    def leave_out_earlier_failures(self) -> None:
        """A file that was refused by a recovered run and was looked at again is told once, as what became of it now."""
        last = {(f.source, f.file): n for n, f in enumerate(self.files)}
        self.files = [f for n, f in enumerate(self.files) if f.state != "failed" or last[f.source, f.file] == n]

    def of_state(self, state: str) -> list[FileReport]:
        return [f for f in self.files if f.state == state]

    @property
    def taken(self) -> int:
        return len(self.of_state("taken"))

    @property
    def known(self) -> int:
        return len(self.of_state("known"))

    @property
    def failed(self) -> int:
        """Files and feeds that failed, now or before; the command ends with an exit code when there are any."""
        return len(self.of_state("failed")) + len(self.stopped) + len(self.waiting)

    def rows(self, name: str) -> int:
        return sum(int(getattr(f, name)) for f in self.of_state("taken"))

    def text(self) -> str:
        dismissed = f", {n} dismissed before" if (n := len(self.of_state("dismissed"))) else ""
        lines = [f"{self.taken} files taken, {self.known} known before{dismissed}, {self.failed} failed"]
        for feed in sorted({f.feed for f in self.of_state("taken")}):
            mine = [f for f in self.of_state("taken") if f.feed == feed]
            sums = {n: sum(int(getattr(f, n)) for f in mine) for n in ROW_COUNTS}
            shown = ", ".join(f"{sums[n]:,} {word}" for n, word in ROW_COUNTS.items() if sums[n] or n in _ALWAYS)
            lines.append(f"  {feed}: {len(mine)} files, {shown}")
            lines += [f"    {line}" for line in _findings(mine)]
        lines += [f"  FAILED {f.message}" for f in self.of_state("failed")]
        lines += [f"  MISSING {told}; deliver it again, or `huaxiang ingest --dismiss FILE`" for told in self.waiting]
        lines += [f"  STOPPED {feed}: {why}" for feed, why in self.stopped.items()]
        lines += [f"  NO FILE {told}" for told in self.without_files]
        lines += [f"  NOTE {note}" for note in self.notes]
        if self.unmatched:
            shown = ", ".join(self.unmatched[:SHOWN]) + (", ..." if len(self.unmatched) > SHOWN else "")
            lines.append(
                f"  {len(self.unmatched)} files that no mapping names: {shown} (try `huaxiang source draft FILE`)"
            )
        if self.unfinished:
            lines.append(f"  {unfinished_in_words(self.unfinished, SHOWN)}")
        return "\n".join(lines)


def _findings(files: Sequence[FileReport]) -> Iterator[str]:
    """Of one feed's files: reasons of quarantine, texts that could not be read, remarks; the most frequent first."""
    for kind, word in (("reasons", "quarantined"), ("unread", "absent"), ("remarks", "note")):
        found = together((f.file, getattr(f, kind)) for f in files)
        yield from (f"{word}: {said(finding, name)}" for name, finding in found[:MOST_FINDINGS])
        if len(found) > MOST_FINDINGS:
            yield f"{word}: {len(found) - MOST_FINDINGS} more kinds; {files[0].feed} in the layer `quarantine` has every row"
