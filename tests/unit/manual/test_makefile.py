"""The Makefile: every target has one rule, few are documented, and benchmarks have names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MAKEFILE = (ROOT / "Makefile").read_text()
ALL = MAKEFILE + "".join(path.read_text() for path in (ROOT / "make").glob("*.mk"))
MODULES = sorted(set(re.findall(r"python -m ((?:benchmarks|demo|training|manual)[\w.]*)", ALL)))
TESTS = sorted(set(re.findall(r"(?<![\w/])tests/[\w/.-]*\w", ALL)))


def test_each_phony_target_has_a_rule() -> None:
    lines = re.findall(r"^\.PHONY:((?:.*\\\n)*.*)$", MAKEFILE, re.M)
    named = {name for line in lines for name in line.replace("\\\n", " ").split()}
    ruled = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.M))
    assert len(named) > 20
    assert not named - ruled


def test_at_most_fifteen_targets_are_documented() -> None:
    assert 10 < len(re.findall(r"^[a-z-]+:.*## ", MAKEFILE, re.M)) <= 15


def test_each_target_has_one_rule() -> None:
    rules = re.findall(r"^([a-z][\w/-]*):(?!=)", ALL, re.M)
    assert sorted(set(rules)) == sorted(rules)


@pytest.mark.parametrize("kind", ["bench", "test"])
def test_each_name_says_what_it_does(kind: str) -> None:
    rules = re.findall(rf"^{kind}/([a-z]+):(.*)$", ALL, re.M)
    assert len(rules) > 5
    assert [name for name, rest in rules if name != "list" and "## " not in rest] == []


@pytest.mark.parametrize("name", MODULES)
def test_each_module_that_is_run_exists(name: str) -> None:
    path = ROOT / name.replace(".", "/")
    assert path.with_suffix(".py").exists() or (path / "__main__.py").exists()


@pytest.mark.parametrize("path", TESTS)
def test_each_test_that_is_run_exists(path: str) -> None:
    assert (ROOT / path).exists()
