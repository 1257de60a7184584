"""Every promise of docs/explanation/security.md names a test that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SECURITY = ROOT / "docs" / "explanation" / "security.md"
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
_PROMISED = re.compile(r"^## What is promised$(.*?)^## (?!#)", re.MULTILINE | re.DOTALL)


def promises() -> list[str]:
    """The rows of the tables of promises, without their heads."""
    found = _PROMISED.search(SECURITY.read_text())
    assert found
    rows = [line for line in found[1].splitlines() if line.startswith("| ")]
    return [row for row in rows if not row.startswith("| promise ")]


@pytest.mark.parametrize("row", promises())
def test_each_promise_names_a_test(row: str) -> None:
    assert _TEST.search(row.split("|")[2]), row


@pytest.mark.parametrize("page", ["security.md", "threat-model.md"])
def test_each_test_that_is_named_is_there(page: str) -> None:
    for path, name in _TEST.findall((SECURITY.parent / page).read_text()):
        file = ROOT / path
        assert file.exists(), path
        assert not name or f"def {name}(" in file.read_text(), f"{path}::{name}"
