"""The list of flaws names tests that exist."""

import tomllib
from pathlib import Path

import pytest

from benchmarks.holes.named_tests import FLAWS

ROOT = Path(__file__).parents[3]
LISTED = tomllib.loads(FLAWS.read_text())


def test_all_seventeen_are_listed() -> None:
    assert [int(number) for number in LISTED] == list(range(1, 18))


@pytest.mark.parametrize("number", LISTED)
def test_each_names_tests_that_exist(number: str) -> None:
    assert LISTED[number]["tests"]
    for test in LISTED[number]["tests"]:
        path, _, name = test.partition("::")
        file = ROOT / path
        assert file.exists(), path
        assert not name or name in file.read_text(), test
