"""What an audience would be at a release, in milliseconds: over columns that lie ready on this machine, without an engine.

``preview`` answers one question; who asks many keeps ``ReleaseColumns`` of the release and judges plans by them.
"""

from queries.preview.answer import Preview, preview
from queries.preview.release_columns import ReleaseColumns

__all__ = ["Preview", "ReleaseColumns", "preview"]
