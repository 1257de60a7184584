"""Draws docs/architecture-light.svg and -dark.svg from docs/architecture.dot, with graphviz.

The `.dot` file names colours as `@name`. Each theme below replaces them.
"""

import re
import subprocess
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
SOURCE = DOCS / "architecture.dot"
THEMES = {
    "light": {
        "text": "#1f2328",
        "muted": "#57606a",
        "edge": "#6e7781",
        "line": "#8c959f",
        "box": "#ffffff",
        "frame": "#d0d7de",
        "panel": "#eef4ff",
        "step": "#ffffff",
        "accent": "#3f51b5",
    },
    "dark": {
        "text": "#e6edf3",
        "muted": "#9da7b3",
        "edge": "#8b949e",
        "line": "#6e7681",
        "box": "#161b22",
        "frame": "#30363d",
        "panel": "#151d33",
        "step": "#1f2a4a",
        "accent": "#7f8ff4",
    },
}


def themed(source: str, colours: dict[str, str]) -> str:
    """The graph with each `@name` replaced. Raises: KeyError for a name that the theme lacks."""
    return re.sub(r'"@(\w+)"', lambda name: f'"{colours[name[1]]}"', source)


def main() -> None:
    for theme, colours in THEMES.items():
        subprocess.run(
            ["dot", "-Tsvg", "-o", DOCS / f"architecture-{theme}.svg"],
            input=themed(SOURCE.read_text(), colours),
            text=True,
            check=True,
        )


if __name__ == "__main__":
    main()
