"""Writing what a run makes: whole or not at all, and a full disk said as such."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from sealgate.reasons import Reason, Refusal

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# torch and safetensors tell of a failed write in their own words.
_SAYINGS = ("No space left", "File too large", "failed writing", "unexpected pos")


@contextmanager
def storing() -> Iterator[None]:
    """Raises Refusal(STORAGE_FULL) where there is no room for what is written inside."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise Refusal(Reason.STORAGE_FULL, str(error.filename or "")) from error
        raise
    except (RuntimeError, SafetensorError) as error:
        if any(saying in str(error) for saying in _SAYINGS):
            raise Refusal(Reason.STORAGE_FULL) from error
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that is there with all of its bytes or not at all. Raises STORAGE_FULL."""
    aside = path.with_name(path.name + ".new")
    with storing():
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)
