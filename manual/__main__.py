"""`make docs`: writes the pages of docs/ that are generated."""

from pathlib import Path

from manual import configuration, reasons

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {"reference/configuration.md": configuration.page, "reference/reasons.md": reasons.page}
"""Each generated page, and what makes its text. A test holds the committed files against it."""


def main() -> None:
    for name, page in PAGES.items():
        (DOCS / name).write_text(page())


if __name__ == "__main__":
    main()
