"""Packages with a small surface are imported by it: their other modules are their own affair. Tests
use public names alone. The README names every package.

Packages that SURFACES does not name have no such surface yet (ADR 1).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.structure import (
    PACKAGES,
    module_of,
    private_uses,
    shared_class_names,
    sources,
)

ROOT = Path(__file__).parents[3]
SURFACES = {
    "gateway.cli": {"serve"},
    "gateway.observability": {"certificates", "collector", "engine", "history", "server"},
    "gateway.rollout": {"alias_health", "rollout"},
    "gateway.witnesses": {"cosignatures", "updates"},
    "generation.publishing": {"builder", "watermark", "window_choice"},
    "generation.serving": {"generator_server", "replay"},
    "inference.llm": {"answers", "messages", "request", "terms"},
    "inference.observability": {"tracing"},
    "inference.text": {"tokenizer", "tokens", "windows"},
    "publishing.cli": {"publish"},
    "publishing.pipeline": {"build", "files"},
    "publishing.source": {"dataset", "folder"},
    "registry.credentials": {"api_keys"},
    "registry.formats": {"bounded_bytes", "check_queue", "format_check"},
    "registry.listing": {"paging"},
    "registry.policy": {"freshness", "policies"},
    "registry.promotion": {"pointers", "proposals", "replies"},
    "registry.sandbox": {"confinement", "process"},
    "registry.uploads": {"collection", "open_uploads", "spool"},
    "sealgate.events": set(),
    "sealgate.health": {"check"},
    "sealgate.pack": {"export", "tile_folder"},
    "sealgate.pages": {"offline"},
    "sealgate.setup": {
        "configuration",
        "credentials",
        "installation",
        "people",
    },
    "sealgate.witness": {"service"},
    "training.demo": {"mails", "spam"},
    "training.recipe": {"federated", "recipe", "sections"},
}
"""The modules of each that other packages import."""
_NAMED = (*PACKAGES, "benchmarks", "demo")


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """The project's modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules else node.module


@pytest.fixture(scope="module")
def uses() -> dict[str, set[tuple[str, str]]]:
    """By package, who imports which of its modules from outside."""
    files = sources(*(str(ROOT / top) for top in PACKAGES))
    names = {module_of(path.relative_to(ROOT)): path for path in files}
    found: dict[str, set[tuple[str, str]]] = {package: set() for package in SURFACES}
    for importer, path in names.items():
        for module in imported(path, set(names)):
            package, inner = ".".join(module.split(".")[:2]), module.split(".")[2:]
            if package in found and inner and not importer.startswith(f"{package}."):
                found[package].add((importer, inner[0]))
    return found


@pytest.mark.parametrize("package", SURFACES)
def test_siblings_import_a_package_by_its_surface(
    package: str, uses: dict[str, set[tuple[str, str]]]
) -> None:
    inner = {(who, module) for who, module in uses[package] if module not in SURFACES[package]}
    assert inner == set()
    assert {module for _, module in uses[package]} == SURFACES[package]


def test_what_a_package_exports_is_imported_from_it() -> None:
    trees = {
        module_of(path.relative_to(ROOT)): (path, ast.parse(path.read_text()))
        for path in sources(*(str(ROOT / top) for top in PACKAGES))
    }
    exported = {
        name: {alias.asname or alias.name for node in tree.body for alias in names_of(node)}
        for name, (path, tree) in trees.items()
        if path.name == "__init__.py"
    }
    past = [
        f"{path.relative_to(ROOT)}: {alias.name} of {node.module}"
        for name, (path, tree) in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module in trees
        for alias in node.names
        if alias.name in exported.get(package := node.module.rpartition(".")[0], ())
        and not name.startswith(f"{package}.")
        and name != package
    ]
    assert past == []


def names_of(node: ast.stmt) -> list[ast.alias]:
    """What an import brings by name."""
    return node.names if isinstance(node, ast.ImportFrom) else []


def test_no_class_name_stands_for_two_ideas() -> None:
    assert shared_class_names(sources(*(str(ROOT / top) for top in _NAMED))) == {}


def test_tests_use_public_names_alone() -> None:
    assert private_uses(sources(str(ROOT / "tests"))) == []


def test_private_names_are_found_however_they_are_used(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(
        "from gateway.sync import _PASSING\n"
        "patch.setattr('gateway.sync._WAIT_SECONDS', 1)\n"
        "patch.setattr(sync, '_WAIT_SECONDS', 1)\n"
        "sync._wait()\n"
        "self._mine = super()._theirs\n"
    )
    found = [each.partition(":")[2] for each in private_uses([tmp_path / "test_one.py"])]
    assert found == ["1 _PASSING", "2 _WAIT_SECONDS", "3 _WAIT_SECONDS", "4 _wait"]


@pytest.mark.parametrize("top", PACKAGES)
def test_the_readme_names_every_package(top: str) -> None:
    (row,) = (
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if line.startswith("| `") and f"`{top}/`" in line.split("|")[1]
    )
    packages = {path.parent.name for path in (ROOT / top).glob("*/__init__.py")}
    assert {name for name in packages if f"`{name}`" not in row} == set()
