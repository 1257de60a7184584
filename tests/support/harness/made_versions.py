"""The files of published versions, made once a test run: marking, quantizing and calibrating take
seconds, and most tests only need a version.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from publishing.pipeline import build
from publishing.watermark import mark_records
from tests.support.harness import shared_run


@contextmanager
def made_once(folder: str, before: int) -> Iterator[None]:
    """While this is open, publishing a model's folder makes its mark and its files the first time
    alone. All the rest, from the commitment to the signatures and the upload, is done each time.

    `before` is how often a registry has the folder's files already: no registry takes the same
    files twice.
    """
    make_files, new_mark = build.make_files, mark_records.new_mark

    def mark(*given: Any) -> Any:
        return shared_run.value_once(f"{folder}-{before}-mark", lambda: new_mark(*given))

    def files(*given: Any) -> Any:
        return shared_run.value_once(f"{folder}-{before}-files", lambda: make_files(*given))

    with _by(mark, files):
        yield


@contextmanager
def made_for_others(folder: str, before: int) -> Iterator[None]:
    """While this is open, publishing makes mark and files anew, and leaves them for `made_once`,
    unless somebody has begun to.
    """
    make_files, new_mark = build.make_files, mark_records.new_mark
    first: list[bool] = []

    def mark(*given: Any) -> Any:
        made = new_mark(*given)
        first.append(shared_run.value_once(f"{folder}-{before}-mark", lambda: made) == made)
        return made

    def files(*given: Any) -> Any:
        made = make_files(*given)
        if first == [True]:
            shared_run.value_once(f"{folder}-{before}-files", lambda: made)
        return made

    with _by(mark, files):
        yield


@contextmanager
def _by(mark: Callable[..., Any], files: Callable[..., Any]) -> Iterator[None]:
    """Publishing gets its mark and its files from these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("publishing.cli.publish.new_mark", mark)
        patch.setattr(build, "make_files", files)
        yield
