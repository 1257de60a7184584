"""Hooks of mkdocs: decisions join the navigation, and files outside docs/ the site.

Pages link to plots, figures and files of deploy/ where they lie in the repository. The site has
copies of just those, below `files/`.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\]\(((?:\.\./)+)((?!\.\./)[^)#]+)")
# A link to README.md and the like, which are no pages of the site; its label stays.
_TEXTS = re.compile(r"\[([^\]]*)\]\((?:\.\./)+[A-Z]+\.md(?:#[^)]*)?\)")
# The tags whose targets a browser loads by itself, unlike a link that somebody follows.
_LOADED = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^>]*>")


def on_config(config: Any) -> Any:
    """The decisions, by number, for the entry of the navigation that ends in a slash."""
    for entry in config.nav:
        for title, place in entry.items() if isinstance(entry, dict) else ():
            if isinstance(place, str) and place.endswith("/"):
                folder = Path(config.docs_dir, place)
                entry[title] = [f"{place}{path.name}" for path in sorted(folder.glob("*.md"))]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds what pages link to outside docs/."""
    found = {
        target
        for page in files.documentation_pages()
        for target in outside(page.src_uri, page.content_string)
    }
    for target in sorted(found):
        path = ROOT / target
        if path.is_file():
            files.append(File.generated(config, f"files/{target}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turns those links to the copies."""
    depth = page.file.src_uri.count("/")

    def turned(link: re.Match[str]) -> str:
        ups = link[1].count("../")
        if ups <= depth or not (ROOT / link[2]).is_file():
            return link[0]
        return f"]({'../' * depth}files/{link[2]}"

    return _OUTSIDE.sub(turned, _TEXTS.sub(r"\1", markdown))


def on_post_build(config: Any) -> None:
    """Raises: PluginError where a page would load anything from another machine."""
    for page in sorted(Path(config.site_dir).rglob("*.html")):
        if found := _LOADED.search(page.read_text()):
            raise PluginError(f"{page} loads {found[0]}")


def outside(page: str, markdown: str) -> list[str]:
    """The paths, from the repository's root, of files outside docs/ that a page links to."""
    depth = page.count("/")
    links = _OUTSIDE.findall(_TEXTS.sub(r"\1", markdown))
    return [path for ups, path in links if ups.count("../") > depth]
