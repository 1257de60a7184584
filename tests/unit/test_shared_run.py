"""What a run makes once, its tests make, and not their import."""

from pathlib import Path

import pytest

from tests.support.harness import shared_run


def test_it_is_made_once() -> None:
    made = list[Path]()
    first = shared_run.made_once("made-once", made.append)
    assert shared_run.made_once("made-once", made.append) == first
    assert len(made) == 1


def test_nothing_is_made_while_tests_are_collected() -> None:
    with shared_run.nothing_made(), pytest.raises(RuntimeError, match="in a fixture or a test"):
        shared_run.made_once("collected", lambda _: pytest.fail("it is made"))
