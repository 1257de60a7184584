"""Settings and policies that the pages show: the code takes them."""

import json
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from manual import configuration
from sealgate.trust import canonical
from sealgate.trust.policy import Policy
from tests.support.builders.documents.people import make_policy

DOCS = Path(__file__).parents[3] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
# Recipes, and the section of model.json that a recipe writes.
_OTHERS = ("training.md", "tables.md")
_SECTION = re.compile(r'"[a-z_]+": ')
# Placeholders that a reader fills in, and a name that the tests' policy does not know.
_PLACEHOLDERS = ("…", "<", "paula")


@cache
def known() -> dict[str, list[set[str]]]:
    """The settings of each section, by its name: one set for each file that has it."""
    found = defaultdict(list)
    for _, kind, _ in configuration.FILES[:-1]:
        for heading, section, _ in configuration.sections(kind):
            names = {setting.name for setting in configuration.settings(section)}
            found[heading.strip("[]")].append(names)
    return found


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", page.read_text(), re.M | re.S)


def sections(page: Path) -> Iterator[tuple[str, set[str]]]:
    """Each section in a page's TOML, with the settings that it shows."""
    for block in blocks(page, "toml"):
        for name, value in tomllib.loads(block).items():
            tables = value if isinstance(value, list) else [value]
            yield from ((name, set(table)) for table in tables if isinstance(table, dict))


def policy_sections(page: Path) -> Iterator[dict[str, Any]]:
    """Each piece of a policy in a page: a block, or a cell of a table."""
    cells = re.findall(r'^\| `("[a-z_]+": .*?)` \|', page.read_text(), re.M)
    for text in [*blocks(page, "json"), *cells]:
        text = text.strip().replace("sha256:…", "sha256:" + "0" * 64)
        if not _SECTION.match(text) or any(each in text for each in _PLACEHOLDERS):
            continue
        piece = json.loads("{" + text + "}")
        inner = {"answers", "guard"} & piece.keys()
        yield {"screens": {"qwen": piece}} if inner else piece


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_setting_that_is_shown_exists(page: Path) -> None:
    if page.name in _OTHERS:
        return
    of_files = known()
    shown = list(sections(page))
    wrong = [
        (name, names)
        for name, names in shown
        if not any(names <= settings for settings in of_files.get(name, []))
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_section_of_a_policy_that_is_shown_is_one(page: Path) -> None:
    if page.name in _OTHERS:
        return
    whole = canonical.decode(make_policy().encode())
    for piece in policy_sections(page):
        Policy.decode(canonical.encode(whole | piece))


def test_the_pages_show_settings_and_policies() -> None:
    assert sum(len(list(sections(page))) for page in PAGES) > 30
    assert sum(len(list(policy_sections(page))) for page in PAGES) > 20
