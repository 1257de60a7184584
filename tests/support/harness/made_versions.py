"""The files of published versions, made once in this process: marking, quantizing and calibrating
take seconds, and most tests only need a version.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from publishing.pipeline import build
from publishing.pipeline.files import MarkSettings
from publishing.watermark.key import Mark

# The mark, and what `make_files` returned, by folder and how often a registry has it already: no
# registry takes the same files twice.
_MADE: dict[tuple[str, int], tuple[Mark, Any]] = {}


@contextmanager
def made_once(folder: str, before: int) -> Iterator[None]:
    """While this is open, publishing a model's folder makes its files the first time alone. All the
    rest, from the commitment to the signatures and the upload, is done each time.
    """
    place = (folder, before)
    make = build.make_files

    def noted(source: Any, data: Any, wanted: MarkSettings, *others: Any) -> Any:
        made = make(source, data, wanted, *others)
        _MADE[place] = (wanted.mark, made)
        return made

    with pytest.MonkeyPatch.context() as patch:
        if place in _MADE:
            mark, made = _MADE[place]
            patch.setattr("publishing.cli.publish.new_mark", lambda *_: mark)
            patch.setattr(build, "make_files", lambda *_: made)
        else:
            patch.setattr(build, "make_files", noted)
        yield
