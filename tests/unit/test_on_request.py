"""Files of which no test is to run are told from others without importing them."""

import tomllib
from pathlib import Path

import pytest

from tests.support.harness.on_request import COMMON, all_on_request

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "mark",
    [
        "pytestmark = pytest.mark.slow",
        "pytestmark = [pytest.mark.timeout(9), pytest.mark.long]",
        'pytestmark = [\n    pytest.mark.slow,\n    pytest.mark.usefixtures("native"),\n]',
    ],
)
def test_a_mark_of_the_whole_file_counts(mark: str) -> None:
    assert all_on_request(f"import pytest\n\n{mark}\n\ndef test_it(): ...\n")


@pytest.mark.parametrize(
    "mark",
    [
        "pytestmark = pytest.mark.no_tables",
        "pytestmark = [pytest.mark.no_tables]\nSLOW = [pytest.mark.slow]",
        "@pytest.mark.slow",
    ],
)
def test_a_mark_of_some_tests_does_not(mark: str) -> None:
    assert not all_on_request(f"import pytest\n\n{mark}\ndef test_it(): ...\n")


def test_tests_run_as_pyproject_says() -> None:
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert f"-m '{COMMON}'" in options["addopts"]
