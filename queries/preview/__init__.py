"""What an audience would be at a release, in milliseconds: over columns that lie ready on this machine, without an engine.

``preview`` answers one question; who asks many keeps ``ReleaseColumns`` of the release and judges plans by them, and
``ReachBits`` beside them to count whom each platform's file would reach.
"""

from queries.preview.answer import Preview, preview
from queries.preview.reach import PlatformReach, ReachBits
from queries.preview.release_columns import ReleaseColumns

__all__ = ["PlatformReach", "Preview", "ReachBits", "ReleaseColumns", "preview"]
