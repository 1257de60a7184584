"""The code base uses no unpickling, archive extraction, fetch of a caller's URL or SQL built from
text (CVE-2024-2912, CVE-2026-3059).
"""

import ast
import gc
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PACKAGES = (
    "console",
    "sealgate",
    "registry",
    "inference",
    "gateway",
    "publishing",
    "training",
    "generation",
)

PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle"}
ARCHIVES = {"tarfile", "zipfile", "zipimport", "py7zr", "rarfile"}
FETCHERS = {
    "urllib.request",
    "http.client",
    "requests",
    "httpx",
    "httpx2",
    "aiohttp",
    "urllib3",
    "ftplib",
    "fsspec",
}
# They ask issuers and witnesses at addresses of the configuration, or a federation's server at that
# of an invitation, never of a caller.
_FETCHES = {
    "console/sign_in/oidc.py",
    "gateway/auth/remote_keys.py",
    "gateway/timestamps.py",
    "gateway/cosigning/updates.py",
    "inference/backends/openai/client.py",
    "sealgate/events/webhooks.py",
    "sealgate/network/bounded_connect.py",
    "sealgate/network/bounded_http.py",
    "training/federated/http_requests.py",
}
# The names of a channel and of a schema, of the configuration and of a strict form; a number.
_SQL = {"registry/storage/postgres.py", "registry/storage/sqlite.py"}


@cache
def sources() -> tuple[tuple[str, ast.Module], ...]:
    # Millions of nodes, all of which stay: looking for garbage among them takes as long as parsing.
    gc.disable()
    try:
        return tuple(
            (str(path.relative_to(_ROOT)), ast.parse(path.read_text()))
            for package in _PACKAGES
            for path in sorted((_ROOT / package).rglob("*.py"))
        )
    finally:
        gc.enable()


@cache
def imported(tree: ast.Module) -> frozenset[str]:
    """Every module that is imported anywhere, with the packages that it lies in."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(part for name in names for part in prefixes(name))


def prefixes(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


@pytest.mark.parametrize(
    ("modules", "allowed"),
    [(PICKLES, set()), (ARCHIVES, set()), (FETCHERS, _FETCHES)],
    ids=["pickles", "archives", "fetchers"],
)
def test_forbidden_modules_are_not_imported(modules: set[str], allowed: set[str]) -> None:
    found = {path for path, tree in sources() if imported(tree) & modules}
    assert found == allowed


@cache
def calls(tree: ast.Module) -> tuple[tuple[str, ast.Call], ...]:
    """Every call, by the last part of the name that is called."""
    return tuple(
        (str(getattr(node.func, "attr", None) or getattr(node.func, "id", "")), node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    )


def keyword(call: ast.Call, name: str) -> object:
    for item in call.keywords:
        if item.arg == name:
            return getattr(item.value, "value", "not a constant")
    return None


def test_no_loader_that_can_run_code_is_called() -> None:
    for path, tree in sources():
        for name, call in calls(tree):
            assert keyword(call, "allow_pickle") in (None, False), path
            assert name not in ("unpack_archive", "extractall"), path
            # torch.load, were it called, would have to say so.
            if name == "load" and ast.unparse(call.func) == "torch.load":
                assert keyword(call, "weights_only") is True, path


def test_no_sql_is_composed_at_run_time() -> None:
    found = {
        path
        for path, tree in sources()
        for taken in [statements(tree)]
        for name, call in calls(tree)
        if name in taken and any(map(is_composed, call.args[:1]))
    }
    assert found == _SQL


def statements(tree: ast.Module) -> set[str]:
    """Return the calls that accept SQL as text: `text` counts only if it is SQLAlchemy's."""
    taken = {"execute", "exec_driver_sql", "executescript", "scalar", "scalars"}
    return taken | {"text"} if "sqlalchemy.text" in imported(tree) else taken


def is_composed(node: ast.expr) -> bool:
    """Whether a statement is put together from what is not written there."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    return isinstance(node, ast.BinOp) and any(
        isinstance(side, ast.JoinedStr) or isinstance(getattr(side, "value", None), str)
        for side in (node.left, node.right)
    )
