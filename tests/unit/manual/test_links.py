"""Links in the documentation: every file and every heading that one names is there."""

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("clients/*/*.md"), *(ROOT / "docs").rglob("*.md")])
_CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def broken(page: Path) -> Iterator[str]:
    """The page's links that lead nowhere. Those that leave this repository are not followed."""
    # A label may itself be code.
    text = _CODE.sub("code", page.read_text())
    for target in _LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        if not file.exists():
            yield f"{target}: no such file"
        elif anchor and anchor not in slugs(file):
            yield f"{target}: no such heading"


def slugs(page: Path) -> set[str]:
    """The anchors of its headings, as both GitHub and mkdocs make them where they agree."""
    found = set()
    for heading in _HEADING.findall(_FENCED.sub("", page.read_text())):
        bare = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        letters = re.sub(r"[^\w\s-]", "", bare.lower()).strip()
        if unicodedata.normalize("NFKD", letters).isascii():
            found.add(re.sub(r"\s", "-", letters))
    return found


_PATH = re.compile(
    r"`((?:deploy|docs|gateway|inference|manual|proto|publishing|registry|sealgate|tests)/[\w./-]*)`"
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken(page)) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# One & two\n\n```\n# not a heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md) [b](there.md#one--two) [`c`](gone.md) [d](there.md#not-a-heading)\n"
        "[e](https://example.org/x) `[f](gone.md)` [g](#page) [h](#other)\n# Page\n"
    )
    assert list(broken(page)) == [
        "gone.md: no such file",
        "there.md#not-a-heading: no such heading",
        "#other: no such heading",
    ]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "README.md"])
def test_each_path_that_is_named_exists(page: str) -> None:
    named = _PATH.findall((ROOT / page).read_text())
    assert len(named) > 5
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_the_packages_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text()
    named = [
        ROOT / folder / package
        for folder, contents in re.findall(r"^\| `(\w+)/` \| (.*) \|$", text, re.MULTILINE)
        for package in re.findall(r"`(\w+)`", contents)
    ]
    assert len(named) > 30
    assert [path for path in named if not path.is_dir() and not _is_module(path)] == []


def _is_module(path: Path) -> bool:
    return path.with_suffix(".py").is_file()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
