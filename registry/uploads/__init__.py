"""Resumable uploads, and the removal of files that no version names."""

from registry.uploads.collection import Collector
from registry.uploads.open_uploads import OpenUpload, OpenUploads, sweep
from registry.uploads.spool import Spool

__all__ = [
    "Collector",
    "OpenUpload",
    "OpenUploads",
    "Spool",
    "sweep",
]
