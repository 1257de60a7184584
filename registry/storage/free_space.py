"""Space that files leave on their disk: what is recorded there, a revocation too, needs some."""

import os
from typing import BinaryIO

from sealgate.reasons import Reason, SealgateError

KEPT_FREE = 256 << 20
"""Bytes that uploads leave. Whoever may upload could otherwise end all answers, for what cannot be
recorded is not answered.
"""


def check_free_space(file: BinaryIO, more: int = 0) -> None:
    """Check that the disk of an open file has `KEPT_FREE` bytes beyond `more` that are to come.

    Raises SealgateError(STORAGE_FULL), OSError.
    """
    found = os.fstatvfs(file.fileno())
    # Some file systems do not say.
    if found.f_blocks and found.f_bavail * found.f_frsize < KEPT_FREE + more:
        raise SealgateError(Reason.STORAGE_FULL, f"less than {KEPT_FREE} bytes would be left free")
